/**
 * Replay: folds the log into state. Entries come in log order; the result is the catalogue, and a map per line.
 * The same rules serve recovery (all lines), snapshot maps (one line, up to a cut) and rebuild (catalogue only).
 */
import { Catalogue } from '../catalogue/catalogue.ts';
import { type CatalogueRecord, decodeRecord } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { isDataType, RecordType, skippableTypeMin } from '../format/frame.ts';
import { Line } from '../io/line.ts';
import { mapValue } from '../io/write-operation.ts';
import { BlockMap } from '../map/block-map.ts';
import type { LeafStore } from '../map/leaf-store.ts';

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

/** What catalogue records change. */
export interface PoolState {
  readonly catalogue: Catalogue;
  readonly lineById: Map<number, Line>;
  readonly leaves: LeafStore;
}

export class Replay implements PoolState {
  readonly catalogue = new Catalogue();
  readonly lineById = new Map<number, Line>();
  /** Every catalogue record, for the manifest. */
  readonly records: PlacedRecord[] = [];
  readonly leaves: LeafStore;
  #entryCount = 0;

  constructor(leaves: LeafStore) {
    this.leaves = leaves;
  }

  get entryCount(): number {
    return this.#entryCount;
  }

  /** Applies one entry. Throws FormatError when the log contradicts itself. */
  apply(entry: FooterEntry, load: PayloadLoader): void {
    this.#entryCount += 1;
    if (isDataType(entry.type)) {
      const line = this.lineById.get(entry.line);
      if (line === undefined) return;
      paintEntry(line.map, line.blockCount, entry);
      line.lastPosition = entry.position;
      return;
    }
    const record = recordOf(entry, load);
    if (record === undefined) return;
    this.records.push({ record, position: entry.position });
    applyRecord(record, entry.position, this);
  }
}

/** Applies a catalogue record to the catalogue and to the lines. */
export function applyRecord(record: CatalogueRecord, position: number, state: PoolState): void {
  const { catalogue, lineById, leaves } = state;
  catalogue.apply(record, position);
  if (record.kind === 'vol-create') {
    const blockCount = record.sizeBytes / slotSizeBytes;
    lineById.set(record.line, new Line(record.line, new BlockMap(leaves, blockCount), blockCount));
  } else if (record.kind === 'vol-resize') {
    const line = lineById.get(record.line);
    line?.resize(record.sizeBytes / slotSizeBytes);
    if (line !== undefined) line.lastPosition = position;
  } else if (record.kind === 'vol-delete') {
    const line = lineById.get(record.line);
    if (line === undefined) return;
    line.isGone = true;
    line.map.release();
    lineById.delete(record.line);
  }
}

const paintedTypes: ReadonlySet<number> = new Set([
  RecordType.write,
  RecordType.zero,
  RecordType.trim,
]);

/** Brings a data entry into a map of `blockCount` blocks. Throws FormatError when it does not fit. */
export function paintEntry(map: BlockMap, blockCount: number, entry: FooterEntry): void {
  if (!paintedTypes.has(entry.type)) {
    throw new FormatError(`record type ${entry.type} needs a newer tidemark`, { isTooNew: true });
  }
  if (entry.lba + entry.blockCount > blockCount) {
    throw new FormatError(`record at ${entry.position} lies outside its volume`);
  }
  map.set(entry.lba, entry.blockCount, mapValue(entry.type, entry.flags, entry.address));
}
