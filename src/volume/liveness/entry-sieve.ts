/**
 * Entry sieve: which entries of one leaf some kept state can see. The mark pass tells it of each entry, oldest first, and of each
 * block whose present version ends; an entry goes on as soon as one of its blocks was kept.
 *
 *     add(entry) ─▶ owns its blocks ─▶ ended(block, kept?) ... ─▶ kept once, or never: decided ─▶ handed on in order, or dropped
 *
 * At any moment at most 512 entries are undecided, one for each block; what waits behind one of them is bounded: when there are
 * too many, all of them are handed on. An entry that nobody needs does no harm.
 */
import { type EntryKind, IndexEntry } from '../index/entry.ts';
import { leafBlocks } from '../map/leaf-store.ts';
import { livenessLimits } from './limits.ts';

/** Gets what is kept, in the order in which it was added; `entry` is filled again for the next one. */
type Kept = (source: number, entry: IndexEntry) => void;

function columnsOf(capacity: number) {
  return {
    /** A log without runs has as many as it has segments. */
    sources: new Uint32Array(capacity),
    withins: new Uint16Array(capacity),
    blockCounts: new Uint16Array(capacity),
    kinds: new Uint8Array(capacity),
    positions: new Float64Array(capacity),
    addresses: new Float64Array(capacity),
    ticks: new Float64Array(capacity),
    /** Blocks of which it is the present version. */
    lefts: new Uint16Array(capacity),
    kepts: new Uint8Array(capacity),
  };
}

type Columns = ReturnType<typeof columnsOf>;

export class EntrySieve {
  readonly #kept: Kept;
  /** What `#kept` is called with. */
  readonly #entry = new IndexEntry();
  #capacity: number = livenessLimits.sieveEntriesMin;
  #columns: Columns = columnsOf(this.#capacity);
  #count = 0;
  /** Of each block: the row of its present version; -1 = none that is here. */
  readonly #owners = new Int32Array(leafBlocks).fill(-1);

  constructor(kept: Kept) {
    this.#kept = kept;
  }

  /** Begins with a leaf: nothing is there. */
  begin(line: number, leaf: number): void {
    this.#entry.line = line;
    this.#entry.level = 0;
    this.#entry.node = leaf;
  }

  /** A newer entry of the leaf; the versions that it ends were told before. */
  add(source: number, entry: IndexEntry): void {
    if (this.#count === this.#capacity) this.#makeRoom();
    const row = this.#count;
    this.#count += 1;
    const columns = this.#columns;
    columns.sources[row] = source;
    columns.withins[row] = entry.within;
    columns.blockCounts[row] = entry.blockCount;
    columns.kinds[row] = entry.kind;
    columns.positions[row] = entry.position;
    columns.addresses[row] = entry.address;
    columns.ticks[row] = entry.ticks;
    columns.lefts[row] = entry.blockCount;
    columns.kepts[row] = 0;
    this.#owners.fill(row, entry.within, entry.within + entry.blockCount);
  }

  /** The present versions of blocks [from, to) ended. */
  ended(from: number, to: number, isKept: boolean): void {
    const { lefts, kepts } = this.#columns;
    for (let block = from; block < to; block += 1) {
      const row = this.#owners[block] ?? -1;
      if (row < 0) continue;
      this.#owners[block] = -1;
      lefts[row] = (lefts[row] ?? 0) - 1;
      if (isKept) kepts[row] = 1;
    }
  }

  /** All versions of the leaf have ended. */
  endLeaf(): void {
    for (let row = 0; row < this.#count; row += 1) {
      if (this.#columns.kepts[row] === 1) this.#handOn(row);
    }
    this.#count = 0;
  }

  #makeRoom(): void {
    const { kepts, lefts } = this.#columns;
    let decided = 0;
    // In order: what is behind an undecided one waits for it.
    for (; decided < this.#count; decided += 1) {
      if (kepts[decided] === 1) this.#handOn(decided);
      else if (lefts[decided] !== 0) break;
    }
    this.#compact(decided);
    if (this.#count <= this.#capacity / 2) return;
    if (this.#capacity < livenessLimits.sieveEntriesMax) {
      this.#grow();
      return;
    }
    for (let row = 0; row < this.#count; row += 1) this.#handOn(row);
    this.#owners.fill(-1);
    this.#count = 0;
  }

  /** Forgets the rows before `first`, and those behind that were dropped. */
  #compact(first: number): void {
    const places = new Int32Array(this.#count).fill(-1);
    let count = 0;
    for (let row = first; row < this.#count; row += 1) {
      if (this.#columns.lefts[row] === 0 && this.#columns.kepts[row] === 0) continue;
      if (row !== count) this.#move(row, count);
      places[row] = count;
      count += 1;
    }
    this.#count = count;
    for (let block = 0; block < leafBlocks; block += 1) {
      const row = this.#owners[block] ?? -1;
      if (row >= 0) this.#owners[block] = places[row] ?? -1;
    }
  }

  #move(row: number, to: number): void {
    const columns = this.#columns;
    columns.sources[to] = columns.sources[row] ?? 0;
    columns.withins[to] = columns.withins[row] ?? 0;
    columns.blockCounts[to] = columns.blockCounts[row] ?? 0;
    columns.kinds[to] = columns.kinds[row] ?? 0;
    columns.positions[to] = columns.positions[row] ?? 0;
    columns.addresses[to] = columns.addresses[row] ?? 0;
    columns.ticks[to] = columns.ticks[row] ?? 0;
    columns.lefts[to] = columns.lefts[row] ?? 0;
    columns.kepts[to] = columns.kepts[row] ?? 0;
  }

  #grow(): void {
    const larger = columnsOf(this.#capacity * 2);
    const known = this.#columns;
    larger.sources.set(known.sources);
    larger.withins.set(known.withins);
    larger.blockCounts.set(known.blockCounts);
    larger.kinds.set(known.kinds);
    larger.positions.set(known.positions);
    larger.addresses.set(known.addresses);
    larger.ticks.set(known.ticks);
    larger.lefts.set(known.lefts);
    larger.kepts.set(known.kepts);
    this.#columns = larger;
    this.#capacity *= 2;
  }

  #handOn(row: number): void {
    const { sources, withins, blockCounts, kinds, positions, addresses, ticks } = this.#columns;
    const entry = this.#entry;
    entry.within = withins[row] ?? 0;
    entry.blockCount = blockCounts[row] ?? 0;
    // Only what `add` stored.
    entry.kind = (kinds[row] ?? 0) as EntryKind;
    entry.position = positions[row] ?? 0;
    entry.address = addresses[row] ?? 0;
    entry.ticks = ticks[row] ?? 0;
    this.#kept(sources[row] ?? 0, entry);
  }
}
