/**
 * Survey: all containers with what of them lives, looked at in slices, so that I/O goes on meanwhile. Remembers the most promising
 * ones only: a pool of many TiB has hundreds of thousands, of which a pass packs a few.
 */
import type { PoolParts } from '../core/parts.ts';
import { footerBytesOf } from '../core/stored-bytes.ts';
import { segIdOf, slotSizeBytes } from '../format/address.ts';
import { type Pack, packMemberEnd } from '../format/pack.ts';
import { limits } from '../limits.ts';
import type { LiveSet } from '../liveness/live-set.ts';
import { cleanerLimits } from './limits.ts';
import { type Container, copyBytesOf, isPromising, type Member, mostPromising } from './policy.ts';

export interface Survey {
  readonly containers: readonly Container[];
  readonly liveBytes: number;
  readonly garbageBytes: number;
}

/** What this process has found out before. */
interface Known {
  /** When packs were made: the segment that was being written then. */
  readonly ages: ReadonlyMap<number, number>;
  /** Segments that cannot be packed. */
  readonly refused: ReadonlySet<number>;
}

/** `done` runs when all is looked at, unless `isStopped` by then. */
export function survey(
  from: {
    readonly parts: PoolParts;
    readonly live: LiveSet;
    readonly known: Known;
    readonly isStopped: () => boolean;
  },
  done: (found: Survey) => void,
): void {
  const { clock, timers } = from.parts.host;
  const containers = new Surveying(from.parts, from.live, from.known);
  const slice = (): void => {
    if (from.isStopped()) return;
    const startedMs = clock.monotonicMs();
    while (clock.monotonicMs() - startedMs < limits.sliceMs) {
      if (containers.lookAtNext()) continue;
      done(containers.found());
      return;
    }
    timers.defer(slice);
  };
  slice();
}

class Surveying {
  readonly #parts: PoolParts;
  readonly #live: LiveSet;
  readonly #known: Known;
  readonly #segmentBytes: number;
  readonly #segIds: readonly number[];
  /** From here on no durable segment follows: recovery needs the file as it is. */
  readonly #endSegId: number;
  readonly #packs: readonly Pack[];
  #nextSegment = 0;
  #nextPack = 0;
  /** The youngest data in any pack up to here: no pack behind was made before that was written. */
  #newestPacked = 0;
  #promising: Container[] = [];
  #liveBytes = 0;
  #garbageBytes = 0;

  constructor(parts: PoolParts, live: LiveSet, known: Known) {
    this.#parts = parts;
    this.#live = live;
    this.#known = known;
    this.#segmentBytes = parts.settings.segmentSlots * slotSizeBytes;
    this.#segIds = live.segIds;
    const durableThrough = parts.writer?.log.durableThrough ?? 0;
    this.#endSegId = durableThrough === 0 ? 0 : segIdOf(durableThrough - 1);
    this.#packs = [...parts.containers.packs()].sort((left, right) => left.packId - right.packId);
  }

  /** Looks at one more; false = that was all. */
  lookAtNext(): boolean {
    const segId = this.#segIds[this.#nextSegment];
    if (segId !== undefined) {
      this.#nextSegment += 1;
      this.#lookAtSegment(segId);
      return true;
    }
    const pack = this.#packs[this.#nextPack];
    if (pack === undefined) return false;
    this.#nextPack += 1;
    this.#lookAtPack(pack);
    return true;
  }

  found(): Survey {
    return {
      containers: this.#promising,
      liveBytes: this.#liveBytes,
      garbageBytes: this.#garbageBytes,
    };
  }

  /** One in its own file; that of a packed one is on its way out. */
  #lookAtSegment(segId: number): void {
    const { segmentById, containers } = this.#parts;
    const segment = segmentById.get(segId);
    if (segment === undefined || containers.packIdOf(segId) !== 0) return;
    if (segId >= this.#endSegId) return;
    const footerBytes = footerBytesOf(segment, this.#segmentBytes);
    const liveBlocks = this.#live.liveBlocks(segId);
    const fixedBytes = thinned(footerBytes, liveBlocks) + cleanerLimits.memberBytes;
    const members = [{ segId, liveBlocks, fixedBytes }];
    const sizeBytes = this.#segmentBytes + footerBytes;
    this.#add({ sizeBytes, members, isPack: false, madeAtSegId: segId });
  }

  #lookAtPack(pack: Pack): void {
    const members: Member[] = [];
    let isJudged = true;
    for (const member of pack.members) {
      const { segId, keptBlocks } = member;
      // In a later pack by now: this one is on its way out.
      if (this.#parts.containers.packIdOf(segId) !== pack.packId) continue;
      isJudged &&= this.#live.isJudged(segId);
      const liveBlocks = Math.min(keptBlocks, this.#live.liveBlocks(segId));
      const bytes = packMemberEnd(member) - member.offset;
      const metaBytes = bytes - keptBlocks * slotSizeBytes;
      const fixedBytes =
        (pack.isThinned ? metaBytes : thinned(metaBytes, liveBlocks)) +
        cleanerLimits.memberTableBytes;
      members.push({ segId, liveBlocks, fixedBytes });
      this.#newestPacked = Math.max(this.#newestPacked, segId);
    }
    if (members.length === 0 || !isJudged) return;
    const madeAtSegId = this.#known.ages.get(pack.packId) ?? this.#newestPacked;
    this.#add({ sizeBytes: pack.totalBytes, members, isPack: true, madeAtSegId });
  }

  #add(container: Container): void {
    const copyBytes = copyBytesOf(container.members);
    this.#liveBytes += copyBytes;
    this.#garbageBytes += Math.max(0, container.sizeBytes - copyBytes);
    if (!isPromising(container, this.#segmentBytes)) return;
    if (container.members.some(({ segId }) => this.#known.refused.has(segId))) return;
    this.#promising.push(container);
    const { containersMax } = cleanerLimits;
    if (this.#promising.length < 2 * containersMax) return;
    this.#promising = mostPromising(this.#promising, this.#live.endSegId, containersMax);
  }
}

/** What is left of a footer in a pack, about: records of what lives. Those of trims, zeros and clones are not counted. */
function thinned(footerBytes: number, liveBlocks: number): number {
  const { thinnedBytes, recordBytes } = cleanerLimits;
  return Math.min(footerBytes, thinnedBytes + recordBytes * liveBlocks);
}
