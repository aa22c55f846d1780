/** A property: the pass keeps exactly what plain sets of all states that are kept have, whatever is kept of random lines. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressOf, positionOf } from '../../../../src/volume/format/address.ts';
import type { FooterEntry } from '../../../../src/volume/format/footer.ts';
import { RecordType } from '../../../../src/volume/format/frame.ts';
import { SegmentIndex } from '../../../../src/volume/index/segment-index.ts';
import { SegmentLineSource } from '../../../../src/volume/liveness/line-source.ts';
import { LiveBits } from '../../../../src/volume/liveness/live-bits.ts';
import { MarkPass } from '../../../../src/volume/liveness/mark-pass.ts';
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

function marked(log: Log, lines: readonly MarkLine[], entriesPerStep: number): Set<number> {
  const bySegId = new Map<number, FooterEntry[]>();
  for (const record of log.records) {
    const segId = Math.floor(record.position / 2048 / 8192);
    bySegId.set(segId, [...(bySegId.get(segId) ?? []), record]);
  }
  const sources = [...bySegId.values()].map((records) => {
    const index = new SegmentIndex((visit) => {
      for (const record of records) visit(record, 0);
    });
    return new SegmentLineSource(index.entries(), index.entryCount);
  });
  // The last segment is not judged.
  const count = Math.max(0, log.lastSegId - 1);
  const sealed = {
    segIds: Float64Array.from({ length: count }, (_, index) => index + 1),
    epochs: new Float64Array(count),
    digests: new Uint8Array(count * 8),
  };
  const bytes = bitmapBytesOf(segmentSlots);
  const bitmaps = new Uint8Array(count * bytes);
  const liveBlocks = new Uint32Array(count);
  const judged = { sealed, first: 0, count, segmentSlots, bitmaps, liveBlocks };
  const pass = new MarkPass(lines, sources, new LiveBits(judged));
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
  return found;
}

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
          const found = marked(log, lines, entriesPerStep);
          deadTotal += segmentSlots * (log.lastSegId - 1) - found.size;
          expect([...found].sort((a, b) => a - b)).toEqual(wanted.sort((a, b) => a - b));
        },
      ),
      { numRuns: 150, seed: 1 },
    );
    expect(deadTotal).toBeGreaterThan(1000);
  });
});
