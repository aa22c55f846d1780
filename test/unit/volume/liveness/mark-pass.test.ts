/** A property: the pass keeps exactly what plain sets of all states that are kept have, whatever is kept of random lines. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { addressOf, positionOf } from '../../../../src/volume/format/address.ts';
import type { FooterEntry } from '../../../../src/volume/format/footer.ts';
import { RecordType } from '../../../../src/volume/format/frame.ts';
import { IndexEntry, leavesOf } from '../../../../src/volume/index/entry.ts';
import { SegmentIndex } from '../../../../src/volume/index/segment-index.ts';
import { livenessLimits } from '../../../../src/volume/liveness/limits.ts';
import { SegmentLineSource } from '../../../../src/volume/liveness/line-source.ts';
import { LiveBits } from '../../../../src/volume/liveness/live-bits.ts';
import { type KeptEntries, MarkPass } from '../../../../src/volume/liveness/mark-pass.ts';
import { bitmapBytesOf, type MarkLine } from '../../../../src/volume/liveness/mark-plan.ts';

const segmentSlots = 128;
const lineCount = 3;
const blocks = 20_000;

interface Step {
  readonly line: number;
  readonly kind: 'write' | 'clone' | 'zero' | 'trim' | 'resize';
  readonly at: number;
  readonly count: number;
  readonly from: number;
}

interface Kept {
  readonly pins: readonly number[];
  readonly window: 'none' | 'open' | 'closed';
  readonly from: number;
  readonly to: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  line: fc.integer({ min: 1, max: lineCount }),
  kind: fc.constantFrom('write', 'write', 'write', 'write', 'clone', 'zero', 'trim', 'resize'),
  // Most of it meets in a few places, so that versions follow each other.
  at: fc.oneof(fc.integer({ min: 480, max: 560 }), fc.integer({ min: 0, max: blocks - 1 })),
  count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 4000, max: blocks })),
  from: fc.nat(),
});

/** Places are numbers of records: of each, the position and the one behind it are cuts. */
const kept: fc.Arbitrary<Kept> = fc.record({
  pins: fc.array(fc.nat({ max: 100 }), { maxLength: 4 }),
  window: fc.constantFrom('none', 'open', 'closed'),
  from: fc.nat({ max: 100 }),
  to: fc.nat({ max: 100 }),
});

/** What a line shows after a record: address by block. */
interface State {
  readonly position: number;
  readonly shown: ReadonlyMap<number, number>;
}

class Log {
  readonly records: FooterEntry[] = [];
  readonly states = new Map<number, State[]>();
  readonly resizes = new Map<number, number[]>();
  readonly positions: number[] = [];
  readonly #written: { readonly address: number; readonly count: number }[] = [];
  #address = addressOf(1, 1);

  add(added: Step): void {
    const { line, kind, count } = added;
    const states = this.states.get(line) ?? [];
    const shown = new Map(states.at(-1)?.shown);
    const position = this.#nextPosition(kind === 'write' ? Math.min(count, 40) : 0);
    const isThere =
      kind === 'write' || kind === 'clone'
        ? this.#share(added, position, shown)
        : this.#remove(added, position, shown);
    if (!isThere) return;
    this.positions.push(position);
    this.states.set(line, [...states, { position, shown }]);
  }

  #share(
    { line, kind, at, count, from }: Step,
    position: number,
    shown: Map<number, number>,
  ): boolean {
    const source = this.#source(kind, position, count, from);
    if (source === undefined) return false;
    const { address, count: blockCount } = source;
    for (let index = 0; index < blockCount; index += 1) shown.set(at + index, address + index);
    const type = kind === 'write' ? RecordType.write : RecordType.clone;
    this.records.push({ ...recordOf(line, position), lba: at, type, address, blockCount });
    return true;
  }

  #remove({ line, kind, at, count }: Step, position: number, shown: Map<number, number>): true {
    const end = kind === 'resize' ? Number.POSITIVE_INFINITY : at + count;
    for (const block of shown.keys()) if (block >= at && block < end) shown.delete(block);
    if (kind === 'resize') {
      this.resizes.set(line, [...(this.resizes.get(line) ?? []), position, at]);
      return true;
    }
    const type = kind === 'zero' ? RecordType.zero : RecordType.trim;
    this.records.push({ ...recordOf(line, position), lba: at, type, blockCount: count });
    return true;
  }

  /** A frame of its own for each record. */
  #nextPosition(dataBlocks: number): number {
    const slot = this.#address % 8192;
    if (slot + 1 + dataBlocks > segmentSlots) {
      this.#address = addressOf(Math.floor(this.#address / 8192) + 1, 1);
    }
    const position = positionOf(this.#address, 0);
    this.#address += 1 + dataBlocks;
    return position;
  }

  #source(
    kind: Step['kind'],
    position: number,
    count: number,
    from: number,
  ): { readonly address: number; readonly count: number } | undefined {
    if (kind === 'write') {
      const written = { address: position / 2048 + 1, count: Math.min(count, 40) };
      this.#written.push(written);
      return written;
    }
    const source = this.#written[from % Math.max(1, this.#written.length)];
    if (source === undefined) return undefined;
    const skipped = from % source.count;
    const length = Math.min(count, source.count - skipped);
    return { address: source.address + skipped, count: length };
  }

  /** A cut at or just behind a record. */
  cut(place: number): number {
    return (this.positions[Math.floor(place / 2) % this.positions.length] ?? 0) + (place % 2);
  }

  get lastSegId(): number {
    return Math.floor(this.#address / 8192);
  }
}

function recordOf(line: number, position: number): Omit<FooterEntry, 'type' | 'blockCount'> {
  return { position, line, lba: 0, timeDelta: 0, flags: 0, writer: 0, address: 0 };
}

function lineOf(log: Log, line: number, { pins, window, from, to }: Kept): MarkLine {
  const cuts = [...new Set(pins.map((place) => log.cut(place)))].sort((a, b) => a - b);
  const windowFrom = window === 'none' ? 1 : log.cut(from);
  const windowTo = window === 'none' ? 0 : window === 'open' ? Infinity : log.cut(to);
  const resizes = Float64Array.from(log.resizes.get(line) ?? []);
  return { line, pins: Float64Array.from(cuts), windowFrom, windowTo, resizes };
}

/** Addresses that any of the states has that are kept. */
function expected(log: Log, lines: readonly MarkLine[]): Set<number> {
  const found = new Set<number>();
  for (const { line, pins, windowFrom, windowTo } of lines) {
    const states = log.states.get(line) ?? [];
    const cuts = new Set(pins);
    if (windowFrom <= windowTo) cuts.add(windowFrom);
    for (const { position } of states) {
      if (position + 1 >= windowFrom && position + 1 <= windowTo) cuts.add(position + 1);
    }
    for (const cut of cuts) {
      const state = states.findLast(({ position }) => position < cut);
      for (const address of state?.shown.values() ?? []) found.add(address);
    }
  }
  return found;
}

type Entries = readonly IndexEntry[];

/** Those that the pass hands on, by source. */
class KeptLists implements KeptEntries {
  readonly lists: IndexEntry[][];

  constructor(sourceCount: number) {
    this.lists = Array.from({ length: sourceCount }, () => []);
  }

  wants(): boolean {
    return true;
  }

  add(source: number, entry: IndexEntry): void {
    this.lists[source]?.push(Object.assign(new IndexEntry(), entry));
  }
}

/** All entries of each segment. */
function entriesOf(log: Log): IndexEntry[][] {
  const bySegId = new Map<number, FooterEntry[]>();
  for (const record of log.records) {
    const segId = Math.floor(record.position / 2048 / 8192);
    bySegId.set(segId, [...(bySegId.get(segId) ?? []), record]);
  }
  return [...bySegId.values()].map((records) => {
    const source = new SegmentIndex((visit) => {
      for (const record of records) visit(record, record.position % 1000);
    }).entries();
    const entries: IndexEntry[] = [];
    for (let entry = new IndexEntry(); source.next(entry); entry = new IndexEntry()) {
      entries.push(entry);
    }
    return entries;
  });
}

function sourceOf(entries: Entries): SegmentLineSource {
  let at = 0;
  const next = (entry: IndexEntry): boolean => {
    Object.assign(entry, entries[at] ?? {});
    at += 1;
    return at <= entries.length;
  };
  return new SegmentLineSource({ next, close: () => undefined }, entries.length);
}

/** What a line shows before a cut when only these entries are there. */
function shownBy(
  lists: readonly Entries[],
  { line, resizes }: MarkLine,
  cut: number,
): Map<number, number> {
  const steps: { readonly position: number; readonly apply: () => void }[] = [];
  const shown = new Map<number, number>();
  const remove = (from: number, to: number): void => {
    for (const block of shown.keys()) if (block >= from && block < to) shown.delete(block);
  };
  for (const entry of lists.flat()) {
    if (entry.line !== line || entry.position >= cut) continue;
    const { leaf, count } = leavesOf(entry.level, entry.node);
    const from = leaf * 512 + entry.within;
    const to = entry.level > 0 ? from + count * 512 : from + entry.blockCount;
    const apply = (): void => {
      remove(from, to);
      if (entry.address === 0) return;
      for (let block = from; block < to; block += 1) shown.set(block, entry.address + block - from);
    };
    steps.push({ position: entry.position, apply });
  }
  for (let at = 0; at < resizes.length; at += 2) {
    const from = resizes[at + 1] ?? 0;
    const position = resizes[at] ?? 0;
    if (position < cut) steps.push({ position, apply: () => remove(from, Infinity) });
  }
  for (const { apply } of steps.sort((a, b) => a.position - b.position)) apply();
  return shown;
}

/** Cuts of a line that are kept, at least one for each state. */
function keptCuts(log: Log, { line, pins, windowFrom, windowTo }: MarkLine): number[] {
  const cuts = new Set(pins);
  if (windowFrom <= windowTo) cuts.add(windowFrom);
  for (const { position } of log.states.get(line) ?? []) {
    if (position + 1 >= windowFrom && position + 1 <= windowTo) cuts.add(position + 1);
  }
  return [...cuts];
}

/** Less is kept: some pins are gone, the window begins later or is gone. */
function lessOf(line: MarkLine, share: number): MarkLine | undefined {
  const pins = line.pins.filter((_, index) => (index * 7 + share) % 3 !== 0);
  const hasWindow = share % 4 !== 0 && line.windowFrom <= line.windowTo;
  const later = line.windowFrom + (share % 2) * 3_000_000;
  const window = hasWindow ? { windowFrom: later } : { windowFrom: 1, windowTo: 0 };
  const isNothing = pins.length === 0 && !hasWindow;
  return isNothing ? undefined : { ...line, pins, ...window };
}

interface Marked {
  readonly found: ReadonlySet<number>;
  readonly kept: readonly Entries[];
}

function marked(
  log: Log,
  lists: readonly Entries[],
  lines: readonly MarkLine[],
  entriesPerStep: number,
): Marked {
  const sources = lists.map(sourceOf);
  const taken = new KeptLists(lists.length);
  // The last segment is not judged.
  const count = Math.max(0, log.lastSegId - 1);
  const sealed = {
    segIds: Float64Array.from({ length: count }, (_, index) => index + 1),
    epochs: new Float64Array(count),
    endAddresses: new Float64Array(count),
    digests: new Uint8Array(count * 8),
  };
  const bytes = bitmapBytesOf(segmentSlots);
  const bitmaps = new Uint8Array(count * bytes);
  const liveBlocks = new Uint32Array(count);
  const judged = { sealed, first: 0, count, segmentSlots, bitmaps, liveBlocks };
  const pass = new MarkPass(lines, sources, new LiveBits(judged), taken);
  while (!pass.step(entriesPerStep));
  const found = new Set<number>();
  for (let place = 0; place < count; place += 1) {
    let live = 0;
    for (let slot = 0; slot < segmentSlots; slot += 1) {
      const byte = bitmaps[place * bytes + (slot >>> 3)] ?? 0;
      if ((byte & (1 << (slot & 7))) === 0) continue;
      found.add(addressOf(place + 1, slot));
      live += 1;
    }
    expect(liveBlocks[place]).toBe(live);
  }
  return { found, kept: taken.lists };
}

const { sieveEntriesMin, sieveEntriesMax } = livenessLimits;

afterEach(() => {
  Object.assign(livenessLimits, { sieveEntriesMin, sieveEntriesMax });
});

describe('MarkPass', () => {
  it('keeps exactly what the states have that are kept', () => {
    let deadTotal = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 60 }),
        fc.array(fc.option(kept), { minLength: lineCount, maxLength: lineCount }),
        fc.constantFrom(1, 3, 50, 10_000),
        (steps, keptOfLines, entriesPerStep) => {
          const log = new Log();
          for (const each of steps) log.add(each);
          if (log.positions.length === 0) return;
          const lines = keptOfLines.flatMap((each, index) =>
            each === null ? [] : [lineOf(log, index + 1, each)],
          );
          const wanted = [...expected(log, lines)].filter(
            (address) => Math.floor(address / 8192) < log.lastSegId,
          );
          const { found } = marked(log, entriesOf(log), lines, entriesPerStep);
          deadTotal += segmentSlots * (log.lastSegId - 1) - found.size;
          expect([...found].sort((a, b) => a - b)).toEqual(wanted.sort((a, b) => a - b));
        },
      ),
      { numRuns: 150, seed: 1 },
    );
    expect(deadTotal).toBeGreaterThan(1000);
  });

  it('hands on what shows all states that are kept, and by which the next pass judges the same', () => {
    let total = 0;
    let keptTotal = 0;
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 80 }),
        fc.array(fc.option(kept), { minLength: lineCount, maxLength: lineCount }),
        fc.array(fc.nat({ max: 11 }), { minLength: 1, maxLength: 4 }),
        fc.constantFrom(1, 3, 50, 10_000),
        (steps, keptOfLines, shares, entriesPerStep) => {
          const log = new Log();
          for (const each of steps) log.add(each);
          if (log.positions.length === 0) return;
          let lines = keptOfLines.flatMap((each, index) =>
            each === null ? [] : [lineOf(log, index + 1, each)],
          );
          const all = entriesOf(log);
          let lists: readonly Entries[] = all;
          // Little room, so that it has to be made all the time; sometimes there is none left.
          Object.assign(livenessLimits, { sieveEntriesMin: 2, sieveEntriesMax: 8 });
          // Thinned again and again, each time with less that is kept, and only some of the sources.
          for (const share of shares) {
            const whole = marked(log, all, lines, entriesPerStep);
            const thin = marked(log, lists, lines, entriesPerStep);
            expect(thin.found).toEqual(whole.found);
            lists = lists.map((list, index) =>
              (index + share) % 3 === 0 ? list : (thin.kept[index] ?? list),
            );
            for (const line of lines) {
              const states = log.states.get(line.line) ?? [];
              for (const cut of keptCuts(log, line)) {
                const shown = states.findLast(({ position }) => position < cut)?.shown;
                expect(shownBy(lists, line, cut)).toEqual(new Map(shown));
              }
            }
            const again = marked(log, lists, lines, entriesPerStep);
            expect(again.found).toEqual(whole.found);
            total += all.flat().length;
            keptTotal += lists.flat().length;
            lines = lines.flatMap((line) => lessOf(line, share) ?? []);
          }
        },
      ),
      { numRuns: 150, seed: 2 },
    );
    expect(total).toBeGreaterThan(1.5 * keptTotal);
  });

  it('hands on all entries of a leaf when there are too many that are not decided', () => {
    Object.assign(livenessLimits, { sieveEntriesMin: 64, sieveEntriesMax: 256 });
    const log = new Log();
    // The first one is not decided before the last one.
    log.add({ line: 1, kind: 'write', at: 511, count: 1, from: 0 });
    for (let at = 0; at < 3000; at += 1) {
      log.add({ line: 1, kind: 'write', at: at % 2, count: 1, from: 0 });
    }
    const all = entriesOf(log);
    const pins = Float64Array.from(log.positions.filter((_, index) => index % 2 === 0));
    const line = { line: 1, pins, windowFrom: 1, windowTo: 0, resizes: new Float64Array() };
    const { kept: lists } = marked(log, all, [line], 100);
    for (const cut of pins.filter((_, index) => index % 50 === 0)) {
      const shown = log.states.get(1)?.findLast(({ position }) => position < cut)?.shown;
      expect(shownBy(lists, line, cut)).toEqual(new Map(shown));
    }
    const positions = lists.flat().map(({ position }) => position);
    expect(positions).toEqual(positions.toSorted((a, b) => a - b));
    expect(new Set(positions).size).toBe(positions.length);
  });
});
