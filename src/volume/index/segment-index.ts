/**
 * Segment index: the data records of one segment (or of its durable part) by leaf, in memory: level 0 of the runs. Made from
 * a footer in about a millisecond per 8,192 records, and given up when room is needed.
 *
 *     line ─▶ (level, node) ─▶ newest entry ─▶ the one before it there ─▶ ...
 */
import type { FooterEntry } from '../format/footer.ts';
import { EntryKind, eachIndexEntry, entryValue, IndexEntry, leavesOf, nodeOf } from './entry.ts';
import { type Stretch, setBits } from './leaf-changes.ts';
import type { LeafPainter } from './leaf-painter.ts';
import { pageLeavesOfBitmap } from './run-format.ts';
import type { EntrySource } from './run-merge.ts';

const nodesMax = 2 ** 30;
const bytesPerEntry = 8 + 8 + 8 + 2 + 2 + 1 + 4;
/** A node in a Map, about. */
const bytesPerNode = 64;

interface LineNodes {
  /** Newest entry of each node. */
  readonly newest: Map<number, number>;
  /** Bit k: there are entries of level k. */
  levels: number;
}

/** Called with each record of a segment in log order and its time in ticks. */
export type SegmentVisitor = (visit: (entry: FooterEntry, ticks: number) => boolean) => void;

export class SegmentIndex {
  readonly #lines = new Map<number, LineNodes>();
  #positions = new Float64Array(64);
  #addresses = new Float64Array(64);
  #ticks = new Float64Array(64);
  #within = new Uint16Array(64);
  #blockCounts = new Uint16Array(64);
  #kinds = new Uint8Array(64);
  #previous = new Int32Array(64);
  #count = 0;
  #nodeCount = 0;

  /** Throws FormatError when a record is of an unknown kind or impossible; DiskError, FormatError of `visitRecords`. */
  constructor(visitRecords: SegmentVisitor) {
    const scratch = new IndexEntry();
    const add = (entry: IndexEntry): void => {
      this.#add(entry);
    };
    visitRecords((record, ticks) => {
      eachIndexEntry(record, ticks, scratch, add);
      return true;
    });
  }

  get entryCount(): number {
    return this.#count;
  }

  /** RAM, about. */
  get bytes(): number {
    return this.#positions.length * bytesPerEntry + this.#nodeCount * bytesPerNode;
  }

  #add(entry: IndexEntry): void {
    if (this.#count === this.#positions.length) this.#grow();
    let line = this.#lines.get(entry.line);
    if (line === undefined) {
      line = { newest: new Map(), levels: 0 };
      this.#lines.set(entry.line, line);
    }
    line.levels |= 1 << entry.level;
    const key = entry.level * nodesMax + entry.node;
    const index = this.#count;
    const before = line.newest.get(key);
    if (before === undefined) this.#nodeCount += 1;
    this.#positions[index] = entry.position;
    this.#addresses[index] = entry.address;
    this.#ticks[index] = entry.ticks;
    this.#within[index] = entry.within;
    this.#blockCounts[index] = entry.blockCount;
    this.#kinds[index] = entry.kind;
    this.#previous[index] = before ?? -1;
    line.newest.set(key, index);
    this.#count += 1;
  }

  #grow(): void {
    const size = this.#positions.length * 2;
    this.#positions = grown(new Float64Array(size), this.#positions);
    this.#addresses = grown(new Float64Array(size), this.#addresses);
    this.#ticks = grown(new Float64Array(size), this.#ticks);
    this.#within = grown(new Uint16Array(size), this.#within);
    this.#blockCounts = grown(new Uint16Array(size), this.#blockCounts);
    this.#kinds = grown(new Uint8Array(size), this.#kinds);
    this.#previous = grown(new Int32Array(size), this.#previous);
  }

  /** Whether any record of the line may touch leaves [first, first + count). */
  hasLeaves(lineId: number, first: number, count: number): boolean {
    const line = this.#lines.get(lineId);
    if (line === undefined) return false;
    if (line.levels > 1) return true;
    if (line.newest.size > count) {
      for (let leaf = first; leaf < first + count; leaf += 1) {
        if (line.newest.has(leaf)) return true;
      }
      return false;
    }
    for (const leaf of line.newest.keys()) if (leaf >= first && leaf < first + count) return true;
    return false;
  }

  /** Sets the bits of leaves of a bitmap page that records of a stretch touched. */
  touched({ line: lineId, from, to }: Stretch, page: number, bits: Uint8Array): void {
    const line = this.#lines.get(lineId);
    const firstLeaf = page * pageLeavesOfBitmap;
    for (let level = 0; (line?.levels ?? 0) >>> level !== 0; level += 1) {
      const last = nodeOf(firstLeaf + pageLeavesOfBitmap - 1, level);
      for (let node = nodeOf(firstLeaf, level); node <= last; node += 1) {
        const newest = line?.newest.get(level * nodesMax + node) ?? -1;
        if (!this.#hasBetween(newest, from, to)) continue;
        const { leaf, count } = leavesOf(level, node);
        setBits(bits, leaf - firstLeaf, leaf - firstLeaf + count);
      }
    }
  }

  /** Whether an entry of a node has a position in [from, to). */
  #hasBetween(newest: number, from: number, to: number): boolean {
    for (let index = newest; index >= 0; index = this.#previous[index] ?? -1) {
      const position = this.#positions[index] ?? 0;
      if (position < from) return false;
      if (position < to) return true;
    }
    return false;
  }

  /** Paints what records of the line before `before` did to a leaf, newest first. */
  paint(lineId: number, leaf: number, before: number, painter: LeafPainter): void {
    const line = this.#lines.get(lineId);
    if (line === undefined) return;
    const heads: number[] = [];
    for (let level = 0; line.levels >>> level !== 0; level += 1) {
      const head = line.newest.get(level * nodesMax + nodeOf(leaf, level));
      if (head !== undefined) heads.push(head);
    }
    // A record has entries of several levels, but only one for a leaf: indexes are in order of positions.
    while (!painter.isDone) {
      let newest = -1;
      for (const head of heads) if (head > newest) newest = head;
      if (newest < 0) return;
      heads[heads.indexOf(newest)] = this.#previous[newest] ?? -1;
      const position = this.#positions[newest] ?? 0;
      if (position >= before) continue;
      const value = entryValue(this.#kind(newest), this.#addresses[newest] ?? 0);
      painter.paint(position, this.#within[newest] ?? 0, this.#blockCounts[newest] ?? 0, value);
    }
  }

  #kind(index: number): EntryKind {
    // Only what `#add` stored.
    return (this.#kinds[index] ?? EntryKind.write) as EntryKind;
  }

  /** All entries in order, for a run. */
  entries(): EntrySource {
    const order = this.#inOrder();
    let at = 0;
    return {
      next: (entry) => {
        const next = order[at];
        if (next === undefined) return false;
        at += 1;
        const { index } = next;
        entry.line = next.line;
        entry.level = Math.floor(next.key / nodesMax);
        entry.node = next.key % nodesMax;
        entry.within = this.#within[index] ?? 0;
        entry.blockCount = this.#blockCounts[index] ?? 0;
        entry.position = this.#positions[index] ?? 0;
        entry.address = this.#addresses[index] ?? 0;
        entry.kind = this.#kind(index);
        entry.ticks = this.#ticks[index] ?? 0;
        return true;
      },
      close: () => undefined,
    };
  }

  #inOrder(): { readonly line: number; readonly key: number; readonly index: number }[] {
    const order: { line: number; key: number; index: number }[] = [];
    const lines = [...this.#lines].sort(([left], [right]) => left - right);
    for (const [line, { newest }] of lines) {
      for (const key of Float64Array.from(newest.keys()).sort()) {
        const first = order.length;
        for (let index = newest.get(key) ?? -1; index >= 0; index = this.#previous[index] ?? -1) {
          order.push({ line, key, index });
        }
        reverseFrom(order, first);
      }
    }
    return order;
  }
}

/** A larger array with the content of a smaller one. */
function grown<T extends { set(from: T): void }>(made: T, from: T): T {
  made.set(from);
  return made;
}

function reverseFrom(items: unknown[], from: number): void {
  for (let low = from, high = items.length - 1; low < high; low += 1, high -= 1) {
    [items[low], items[high]] = [items[high], items[low]];
  }
}
