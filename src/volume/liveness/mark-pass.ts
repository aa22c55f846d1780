/**
 * Mark pass: which blocks of the log can still be reached, by one walk over all index entries of the lines of which something is
 * kept, leaf by leaf, a bounded number of entries at a time.
 *
 *     line ─▶ trims of whole groups of leaves, resizes ─┐
 *          ─▶ leaf ─▶ entries of all sources, oldest first ─▶ each block: version (birth, death] ─▶ kept? ─▶ its bit is set
 *
 * A version is kept when a pin or a state of the window lies in (birth, death]; what nothing overwrote dies never. An entry of a
 * CLONE is a version like any other, of an address that lies elsewhere: each address lives as long as one version names it.
 *
 * A ZERO or TRIM is a version, too: of no address. The entries of which a version is kept are handed on (see EntrySieve): they
 * are all that a thinned run needs. Why a state that is kept reads the same from them: what it shows of a block is the newest
 * entry before it; that one is kept because of this very state; so what lies between the two was dropped or never was, and what
 * lies before is painted over. If there is none before it, there never was one that is not older than a resize. Why the next pass
 * over them judges the same: an entry K that was dropped had no kept state in (K.birth, K.death], so what K ended seems to live
 * longer by stretches without any; and states that are kept only ever become fewer, but for those behind the end of the log as
 * the pass saw it, where nothing is thinned.
 *
 * Invariants
 * 1. Bits are only set: what is not looked at, or not understood, must not be called dead. So a pass that throws says nothing.
 * 2. Sources are in the order of the log and do not overlap: entries of a leaf are in order of positions, source after source.
 * 3. Of a line of which something is kept all entries of groups of leaves are handed on, and each other entry of which one block
 *    is kept, whole.
 */
import { EntryKind, type IndexEntry, nodeOf } from '../index/entry.ts';
import { leafBlocks } from '../map/leaf-store.ts';
import { EntrySieve } from './entry-sieve.ts';
import { livenessLimits } from './limits.ts';
import type { LineSource } from './line-source.ts';
import type { LiveBits } from './live-bits.ts';
import type { MarkLine } from './mark-plan.ts';

/** Who wants to know which entries kept states can see. */
export interface KeptEntries {
  /** Whether those of this source are asked for. */
  wants(source: number): boolean;
  /** One of them, in the order of entries of its source. Throws nothing of disk or format. */
  add(source: number, entry: IndexEntry): void;
}

/** From `position` on, nothing of a leaf from block `from` on is there any more. */
interface Kill {
  readonly position: number;
  readonly from: number;
}

export class MarkPass {
  readonly #lines: readonly MarkLine[];
  readonly #sources: readonly LineSource[];
  readonly #bits: LiveBits;
  readonly #kept: KeptEntries;
  /** By source. */
  readonly #wanted: readonly boolean[];
  readonly #sieve: EntrySieve;
  #nextLine = 0;
  #line: MarkLine | undefined;
  #wide = new WideKills();
  /** Infinity = none is begun. */
  #leaf = Number.POSITIVE_INFINITY;
  #kills: readonly Kill[] = [];
  #nextKill = 0;
  #nextSource = 0;
  /** Of each block of the leaf: address of the present version (0 = it has none), and its position (0 = there is none). */
  readonly #addresses = new Float64Array(leafBlocks);
  readonly #births = new Float64Array(leafBlocks);

  /** `sources` in log order; their owner closes them. */
  constructor(
    lines: readonly MarkLine[],
    sources: readonly LineSource[],
    bits: LiveBits,
    kept: KeptEntries,
  ) {
    this.#lines = lines;
    this.#sources = sources;
    this.#bits = bits;
    this.#kept = kept;
    this.#wanted = sources.map((_, source) => kept.wants(source));
    this.#sieve = new EntrySieve((source, entry) => {
      kept.add(source, entry);
    });
  }

  /** Goes on for about `entriesMax` entries, fewer when they are of many blocks; true = all is judged. Throws DiskError, FormatError. */
  step(entriesMax: number): boolean {
    let left = entriesMax;
    while (left > 0) {
      if (this.#leaf === Number.POSITIVE_INFINITY && !this.#nextLeaf()) {
        if (!this.#beginLine()) return true;
        left -= 1 + this.#wide.count;
        continue;
      }
      left = this.#lookAtLeaf(left);
    }
    return false;
  }

  /** False when there is no further line. */
  #beginLine(): boolean {
    this.#endLine();
    const line = this.#lines[this.#nextLine];
    this.#nextLine += 1;
    this.#line = line;
    if (line === undefined) return false;
    this.#wide = new WideKills();
    for (const source of this.#sources) {
      source.eachWide(line.line, (entry) => {
        this.#wide.add(entry);
      });
    }
    for (const source of this.#sources) source.begin(line.line);
    return true;
  }

  /** In a run, what covers groups of leaves comes behind what is of single leaves. */
  #endLine(): void {
    const line = this.#line?.line;
    if (line === undefined) return;
    this.#sources.forEach((source, index) => {
      if (this.#wanted[index] !== true) return;
      source.eachWide(line, (entry) => {
        this.#kept.add(index, entry);
      });
    });
  }

  /** Begins with the next leaf that the line has entries of; false when there is none. */
  #nextLeaf(): boolean {
    if (this.#line === undefined) return false;
    let leaf = Number.POSITIVE_INFINITY;
    for (const source of this.#sources) if (source.leaf < leaf) leaf = source.leaf;
    this.#leaf = leaf;
    if (leaf === Number.POSITIVE_INFINITY) return false;
    this.#kills = this.#wide.of(leaf, this.#line.resizes);
    this.#nextKill = 0;
    this.#nextSource = 0;
    this.#births.fill(0);
    this.#sieve.begin(this.#line.line, leaf);
    return true;
  }

  /** Takes up to `countMax` entries of the leaf; returns how many more may be taken. */
  #lookAtLeaf(countMax: number): number {
    let left = countMax;
    for (; this.#nextSource < this.#sources.length; this.#nextSource += 1) {
      const source = this.#sources[this.#nextSource];
      while (source?.leaf === this.#leaf) {
        if (left <= 0) return 0;
        left -= 1 + Math.floor(source.entry.blockCount / livenessLimits.markBlocksPerEntry);
        this.#apply(source.entry, this.#nextSource);
        source.next();
      }
    }
    this.#killBefore(Number.POSITIVE_INFINITY);
    this.#endVersions(0, leafBlocks, Number.POSITIVE_INFINITY);
    this.#sieve.endLeaf();
    this.#leaf = Number.POSITIVE_INFINITY;
    return Math.max(0, left - 1);
  }

  #apply(entry: IndexEntry, source: number): void {
    const { position, within, blockCount, kind, address } = entry;
    this.#killBefore(position);
    const end = within + blockCount;
    this.#endVersions(within, end, position);
    const hasAddress = kind === EntryKind.write || kind === EntryKind.clone;
    for (let block = within; block < end; block += 1) {
      this.#addresses[block] = hasAddress ? address + block - within : 0;
      this.#births[block] = position;
    }
    if (this.#wanted[source] === true) this.#sieve.add(source, entry);
  }

  #killBefore(position: number): void {
    for (;;) {
      const kill = this.#kills[this.#nextKill];
      if (kill === undefined || kill.position >= position) return;
      this.#nextKill += 1;
      this.#endVersions(kill.from, leafBlocks, kill.position);
    }
  }

  /** The present versions of blocks [from, to) end at `death`: whether each can be reached is known now. */
  #endVersions(from: number, to: number, death: number): void {
    for (let block = from; block < to; ) {
      const birth = this.#births[block] ?? 0;
      if (birth === 0) {
        block += 1;
        continue;
      }
      const end = this.#endOfStretch(block, to, birth);
      const isKept = this.#line !== undefined && isVersionKept(this.#line, birth, death);
      this.#births.fill(0, block, end);
      this.#sieve.ended(block, end, isKept);
      const address = this.#addresses[block] ?? 0;
      if (isKept && address > 0) this.#bits.set(address, end - block);
      block = end;
    }
  }

  /** First block behind `from` that was not born with it, or does not lie behind the one before it in the log. */
  #endOfStretch(from: number, to: number, birth: number): number {
    const first = this.#addresses[from] ?? 0;
    const step = first === 0 ? 0 : 1;
    let end = from + 1;
    while (
      end < to &&
      this.#births[end] === birth &&
      this.#addresses[end] === first + step * (end - from)
    ) {
      end += 1;
    }
    return end;
  }
}

/** Whether a state of the line that is kept lies in (birth, death]. */
function isVersionKept(line: MarkLine, birth: number, death: number): boolean {
  const { pins, windowFrom, windowTo } = line;
  if (Math.max(windowFrom, birth + 1) <= Math.min(windowTo, death)) return true;
  let low = 0;
  let high = pins.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((pins[middle] ?? 0) <= birth) low = middle + 1;
    else high = middle;
  }
  return (pins[low] ?? Number.NaN) <= death;
}

/** What ended the versions of many leaves of a line at once. */
class WideKills {
  /** By level, then node. */
  readonly #levels: (Map<number, number[]> | undefined)[] = [];
  count = 0;

  /** Above the limit one is not remembered: then older versions seem to live longer than they do. */
  add({ level, node, position }: IndexEntry): void {
    if (this.count === livenessLimits.wideKillsMax) return;
    this.count += 1;
    this.#levels[level] ??= new Map();
    const nodes = this.#levels[level];
    const positions = nodes.get(node);
    if (positions === undefined) nodes.set(node, [position]);
    else positions.push(position);
  }

  /** What ended versions of a leaf, oldest first; `resizes` as in MarkLine. */
  of(leaf: number, resizes: Float64Array): readonly Kill[] {
    const kills: Kill[] = [];
    this.#levels.forEach((nodes, level) => {
      for (const position of nodes?.get(nodeOf(leaf, level)) ?? []) {
        kills.push({ position, from: 0 });
      }
    });
    for (let at = 0; at < resizes.length; at += 2) {
      const from = Math.max(0, (resizes[at + 1] ?? 0) - leaf * leafBlocks);
      if (from < leafBlocks) kills.push({ position: resizes[at] ?? 0, from });
    }
    return kills.sort((left, right) => left.position - right.position);
  }
}
