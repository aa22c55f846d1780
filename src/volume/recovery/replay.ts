/**
 * Replay: folds the log into state, in two passes over the same entries.
 *
 *     1. catalogue records  ─▶ Catalogue: volumes, lines and where each line begins
 *     2. data records       ─▶ maps of the lines that are wanted, and of those they began in, up to where they began
 *
 * Recovery needs the first pass; maps come from the index, but those of a damaged log, which are made by the second one:
 * what it cannot make sense of is told. The index must say what the second pass says (`test/unit/volume/index`).
 */
import { Catalogue, type LineState } from '../catalogue/catalogue.ts';
import { CheckpointCollector, parseCatalogue, withoutText } from '../catalogue/checkpoint.ts';
import { type CatalogueRecord, decodeRecord } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { isDataType, RecordType, skippableTypeMin } from '../format/frame.ts';
import { Line } from '../io/line.ts';
import { mapValue } from '../io/write-operation.ts';
import { BlockMap } from '../map/block-map.ts';
import type { LeafStore } from '../map/leaf-store.ts';
import type { Steps } from '../steps.ts';

export type PayloadLoader = (position: number) => Uint8Array;

/** The catalogue record of an entry; undefined for data and for records that may be skipped. Throws FormatError. */
export function recordOf(entry: FooterEntry, load: PayloadLoader): CatalogueRecord | undefined {
  if (isDataType(entry.type) || entry.type >= skippableTypeMin) return undefined;
  return decodeRecord(entry.type, entry.line, load(entry.position));
}

export interface PlacedRecord {
  readonly record: CatalogueRecord;
  readonly position: number;
}

/** Whether this version knows what data records of a type do to a map. Cheap: asked of every record at opening. */
export function isApplicable(type: number): boolean {
  return (
    type === RecordType.write ||
    type === RecordType.trim ||
    type === RecordType.zero ||
    type === RecordType.clone
  );
}

function requireApplicable(type: number): void {
  if (isApplicable(type)) return;
  throw new FormatError(`record type ${type} needs a newer tidemark`, { isTooNew: true });
}

/** First pass. From the beginning of the log, or from the first whole checkpoint among the entries on. */
export class CatalogueReplay {
  readonly #checkpoints: CheckpointCollector | undefined;
  #catalogue: Catalogue | undefined;
  /** Every catalogue record, for the manifest: without the texts of checkpoints. */
  readonly records: PlacedRecord[] = [];

  constructor(from: 'first record' | 'checkpoint') {
    if (from === 'checkpoint') this.#checkpoints = new CheckpointCollector();
    else this.#catalogue = new Catalogue();
  }

  /** As far as it was replayed; of no volumes before the checkpoint has come. */
  get catalogue(): Catalogue {
    return this.#catalogue ?? new Catalogue();
  }

  /** Whether it has begun: the checkpoint has come, if it waited for one. */
  get hasBegun(): boolean {
    return this.#catalogue !== undefined;
  }

  /** Applies one entry if it is of the catalogue; in steps, for a checkpoint may be large. Throws FormatError when the log contradicts itself. */
  *apply(entry: FooterEntry, load: PayloadLoader): Steps<void> {
    if (isDataType(entry.type)) requireApplicable(entry.type);
    const record = recordOf(entry, load);
    if (record === undefined) return;
    yield;
    this.records.push(withoutText({ record, position: entry.position }));
    if (this.#catalogue !== undefined) {
      this.#catalogue.apply(record, entry.position);
      return;
    }
    const text = this.#checkpoints?.add(record, entry.position);
    if (text !== undefined) this.#catalogue = yield* parseCatalogue(text, entry.position);
  }
}

/** A line as it was before a position of the log (Infinity = as it is). */
export interface LineMoment {
  readonly line: number;
  readonly before: number;
}

/** A map that is there already: the line as it was before `position`. */
export interface ReplaySeed {
  readonly line: number;
  readonly position: number;
  readonly map: BlockMap;
  readonly blockCount: number;
}

interface Growing {
  readonly map: BlockMap;
  blockCount: number;
  lastPosition: number;
  /** Records at or behind this position do not belong to it. */
  readonly before: number;
}

interface ReplayEvent {
  readonly position: number;
  /** At one position lines begin before anything is resized: what begins there does not have what happens there. */
  readonly isResize: boolean;
  readonly run: () => void;
}

/** Second pass. */
export class MapReplay {
  readonly #leaves: LeafStore;
  readonly #catalogue: Catalogue;
  readonly #growing = new Map<number, Growing>();
  readonly #wanted: readonly LineMoment[];
  readonly #seedPosition: number | undefined;
  /** What happens to lines between data records, in log order. */
  readonly #events: ReplayEvent[] = [];
  #nextEvent = 0;

  /** Throws FormatError when a wanted line is not in the catalogue. */
  constructor(
    leaves: LeafStore,
    catalogue: Catalogue,
    wanted: readonly LineMoment[],
    seed: ReplaySeed | undefined,
  ) {
    this.#leaves = leaves;
    this.#catalogue = catalogue;
    this.#wanted = wanted;
    this.#seedPosition = seed?.position;
    const limits = this.#limits(seed);
    if (seed !== undefined) {
      const before = limits.get(seed.line) ?? seed.position;
      const { map, blockCount, position } = seed;
      this.#growing.set(seed.line, { map, blockCount, lastPosition: position, before });
    }
    for (const [line, before] of limits) {
      this.#plan(this.#catalogue.line(line), before, seed);
    }
    this.#events.sort(
      (left, right) =>
        left.position - right.position || Number(left.isResize) - Number(right.isResize),
    );
  }

  /** Position from which on entries are needed. */
  get from(): number {
    return this.#seedPosition ?? this.#events[0]?.position ?? 0;
  }

  /** Applies one entry if it belongs to a line that is needed. Throws FormatError when it does not fit. */
  apply(entry: FooterEntry): void {
    if (!isDataType(entry.type)) return;
    requireApplicable(entry.type);
    this.#advance(entry.position);
    const line = this.#growing.get(entry.line);
    if (line === undefined || entry.position >= line.before) return;
    if (entry.position < line.lastPosition) return;
    paintEntry(line.map, line.blockCount, entry);
    line.lastPosition = entry.position;
  }

  /** The maps of the wanted lines; all others are given back. */
  finish(): Map<number, Line> {
    this.#advance(Number.POSITIVE_INFINITY);
    const lines = new Map<number, Line>();
    for (const { line } of this.#wanted) {
      const grown = this.#growing.get(line);
      if (grown === undefined) throw new FormatError(`line ${line} never began`);
      const made = new Line(line, grown.map, grown.blockCount);
      made.lastPosition = grown.lastPosition;
      lines.set(line, made);
    }
    for (const [line, grown] of this.#growing) if (!lines.has(line)) grown.map.release();
    this.#growing.clear();
    return lines;
  }

  /** Gives everything back. */
  abandon(): void {
    for (const grown of this.#growing.values()) grown.map.release();
    this.#growing.clear();
  }

  /** Every line that is needed, and up to where. A seeded line needs no ancestors. */
  #limits(seed: ReplaySeed | undefined): Map<number, number> {
    const limits = new Map<number, number>();
    const need = (id: number, before: number): void => {
      const known = limits.get(id);
      limits.set(id, Math.max(known ?? 0, before));
      if (known !== undefined || id === seed?.line) return;
      const { parentLine, forkPosition } = this.#catalogue.line(id);
      if (parentLine !== 0) need(parentLine, forkPosition);
    };
    for (const { line, before } of this.#wanted) need(line, before);
    // A parent that was met first with a lower limit passes the higher one on to nobody: forks lie before both.
    return limits;
  }

  #plan(line: LineState, before: number, seed: ReplaySeed | undefined): void {
    const from = line.id === seed?.line ? seed.position : undefined;
    if (from === undefined) {
      const position = line.parentLine === 0 ? line.createdPosition : line.forkPosition;
      this.#events.push({
        position,
        isResize: false,
        run: () => {
          this.#begin(line, before);
        },
      });
    }
    for (const resize of line.resizes) {
      if (resize.position >= before || resize.position < (from ?? 0)) continue;
      this.#events.push({
        position: resize.position,
        isResize: true,
        run: () => {
          const grown = this.#growing.get(line.id);
          if (grown === undefined) return;
          grown.blockCount = resize.sizeBytes / slotSizeBytes;
          grown.map.resize(grown.blockCount);
          grown.lastPosition = resize.position;
        },
      });
    }
  }

  #begin(line: LineState, before: number): void {
    const blockCount = line.sizeBytes / slotSizeBytes;
    const parent = this.#growing.get(line.parentLine);
    const map = parent?.map.fork() ?? new BlockMap(this.#leaves, blockCount);
    map.resize(blockCount);
    const lastPosition = line.createdPosition;
    this.#growing.set(line.id, { map, blockCount, lastPosition, before });
  }

  #advance(position: number): void {
    for (;;) {
      const event = this.#events[this.#nextEvent];
      if (event === undefined || event.position > position) return;
      this.#nextEvent += 1;
      event.run();
    }
  }
}

/** Brings a data entry into a map of `blockCount` blocks. Throws FormatError when it does not fit. */
function paintEntry(map: BlockMap, blockCount: number, entry: FooterEntry): void {
  if (entry.lba + entry.blockCount > blockCount) {
    throw new FormatError(`record at ${entry.position} lies outside its volume`);
  }
  map.set(entry.lba, entry.blockCount, mapValue(entry.type, entry.flags, entry.address));
}
