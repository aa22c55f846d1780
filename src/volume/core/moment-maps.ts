/**
 * Moment maps: the state of a line before a position of the log, as a map: what snapshots, views, rollbacks and clones begin
 * with. Shared by all who use one, kept for a while after the last one left.
 *
 *     head unchanged since  ─▶ fork of the head (everything shared)
 *     kept from before      ─▶ that one: a fork of the head is kept at every snapshot, as memory allows
 *     else                  ─▶ a map without leaves: each is made from the index when it is first touched
 *
 * So opening a moment takes no time, however long the log is.
 */
import { slotSizeBytes } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { LeafChanges } from '../index/leaf-changes.ts';
import type { LogIndex } from '../index/log-index.ts';
import { limits, type StoreSettings } from '../limits.ts';
import { BlockMap } from '../map/block-map.ts';
import type { PoolHost } from '../ports.ts';
import type { PoolParts } from './parts.ts';

/** A line as it was before position `cut`, when the volume was `sizeBytes` large. */
export interface Moment {
  readonly line: number;
  readonly cut: number;
  readonly sizeBytes: number;
}

/** Moments that stay readable while somebody looks at all of them, one after the other. */
export interface MomentsLease {
  /** It took too long: since then any of them may have been given up. */
  isOver(): boolean;
  /** Gives them back; once or more often. */
  release(): void;
}

export interface OpenMoment {
  readonly map: BlockMap;
  /** Gives it back; once. */
  release(): void;
}

interface CachedMap extends Moment {
  readonly map: BlockMap;
  users: number;
  /** Those of them for whom the moment must stay readable. */
  holders: number;
  /** It is there only for who passes by: the last one of them takes it away. */
  isPassing: boolean;
}

type Done = (opened: OpenMoment | undefined) => void;

type MomentParts = Pick<PoolParts, 'lineById' | 'leaves'> & {
  readonly host: Pick<PoolHost, 'clock' | 'log'>;
  readonly settings: Pick<StoreSettings, 'mapBytes'>;
};

export class MomentMaps {
  readonly #parts: MomentParts;
  readonly #index: Pick<LogIndex, 'source' | 'changes'>;
  /** In order of last use, oldest first. */
  readonly #cached = new Map<string, CachedMap>();
  /** Moments that somebody asked for, in the order in which that ends. */
  readonly #leased = new Map<string, Moment & { readonly untilMs: number }>();
  /** Many moments at once, and until when. */
  readonly #groups = new Set<{ readonly moments: readonly Moment[]; readonly untilMs: number }>();
  /** Moments that were given back since `watchLeases`; undefined = nobody asks. */
  #givenBack: Moment[] | undefined;

  constructor(parts: MomentParts, index: Pick<LogIndex, 'source' | 'changes'>) {
    this.#parts = parts;
    this.#index = index;
  }

  /**
   * The moment stays readable until it is released. `done` gets undefined when the line is not known any more (a damaged log).
   * Runs inside the call.
   */
  open(moment: Moment, done: Done): void {
    this.#open(moment, true, done);
  }

  /**
   * As `open`, for who looks at addresses only: nothing is held. Whoever walks over all moments there were when he began may
   * come to one whose blocks were given up meanwhile: nobody may begin anything there because of him. Nor is it kept for later
   * afterwards: it would push out what others come back to.
   */
  look(moment: Moment, done: Done): void {
    this.#open(moment, false, done);
  }

  #open(moment: Moment, isHeld: boolean, done: Done): void {
    const key = keyOf(moment);
    const known = this.#cached.get(key);
    if (known !== undefined) {
      if (isHeld) known.isPassing = false;
      done(this.#use(key, known, isHeld));
      return;
    }
    const line = this.#parts.lineById.get(moment.line);
    const isHead = line !== undefined && line.lastPosition < moment.cut;
    const map = isHead ? line.map.fork() : this.#make(moment);
    const isPassing = !isHeld;
    done(
      map === undefined
        ? undefined
        : this.#use(key, this.#remember(moment, map, isPassing), isHeld),
    );
  }

  /** Which leaves can differ between two moments; undefined when a line is not known any more (a damaged log). */
  changes(left: Moment, right: Moment): LeafChanges | undefined {
    try {
      return this.#index.changes(left, right);
    } catch (thrown) {
      if (!(thrown instanceof FormatError)) throw thrown;
      return undefined;
    }
  }

  /** A map of which nothing is in memory yet. */
  #make({ line, cut, sizeBytes }: Moment): BlockMap | undefined {
    try {
      const source = this.#index.source(line, cut);
      return new BlockMap(this.#parts.leaves, sizeBytes / slotSizeBytes, source);
    } catch (thrown) {
      if (!(thrown instanceof FormatError)) throw thrown;
      this.#parts.host.log.error('a moment cannot be opened', { error: thrown.message });
      return undefined;
    }
  }

  /** Keeps `map` (taken over) for later, as long as memory allows. */
  keep(moment: Moment, map: BlockMap): void {
    const known = this.#cached.get(keyOf(moment));
    if (known === undefined) this.#remember(moment, map, false);
    else {
      known.isPassing = false;
      map.release();
    }
    this.evictIdle();
  }

  #remember(moment: Moment, map: BlockMap, isPassing: boolean): CachedMap {
    const { line, cut, sizeBytes } = moment;
    const cached = { line, cut, sizeBytes, map, users: 0, holders: 0, isPassing };
    this.#cached.set(keyOf(moment), cached);
    return cached;
  }

  #use(key: string, cached: CachedMap, isHeld: boolean): OpenMoment {
    cached.users += 1;
    if (isHeld) cached.holders += 1;
    this.#cached.delete(key);
    this.#cached.set(key, cached);
    let isReleased = false;
    return {
      map: cached.map,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        cached.users -= 1;
        if (isHeld) {
          cached.holders -= 1;
          this.#givenBack?.push(cached);
        }
        if (cached.users === 0 && cached.isPassing) this.#giveUp(key, cached);
        else this.evictIdle();
      },
    };
  }

  /**
   * From now until `leases`, moments that are given back count as held: what was cloned from one of them may be published
   * and not durable yet.
   */
  watchLeases(): void {
    this.#givenBack ??= [];
  }

  /** Whoever asked where the moment lies will open it soon, or ask for more of it: it stays readable for a while. */
  lease(moment: Moment): void {
    const key = keyOf(moment);
    const untilMs = this.#parts.host.clock.monotonicMs() + limits.momentLeaseMs;
    this.#leased.delete(key);
    this.#leased.set(key, { ...moment, untilMs });
    if (this.#leased.size <= limits.momentLeasesMax) return;
    const [oldest] = this.#leased.keys();
    if (oldest !== undefined) this.#leased.delete(oldest);
  }

  /**
   * Whoever looks at all of these can rely on what he finds until he gives them back, but no longer than a lease lasts: nobody
   * holds space for ever. They must be kept now.
   */
  leaseAll(moments: readonly Moment[]): MomentsLease {
    const { clock } = this.#parts.host;
    const group = { moments, untilMs: clock.monotonicMs() + limits.momentLeaseMs };
    this.#groups.add(group);
    return {
      isOver: () => group.untilMs <= clock.monotonicMs(),
      release: () => {
        this.#groups.delete(group);
      },
    };
  }

  /** Whether it is among the `leases`, now and until the next time that somebody asks. */
  isLeased(moment: Moment): boolean {
    const key = keyOf(moment);
    const { clock } = this.#parts.host;
    if ((this.#leased.get(key)?.untilMs ?? 0) > clock.monotonicMs()) return true;
    return (this.#cached.get(key)?.holders ?? 0) > 0;
  }

  /** Moments that somebody holds, asked for a while ago, or held since `watchLeases`. */
  leases(): Moment[] {
    const found: Moment[] = this.#givenBack ?? [];
    this.#givenBack = undefined;
    const nowMs = this.#parts.host.clock.monotonicMs();
    for (const [key, leased] of this.#leased) {
      if (leased.untilMs > nowMs) found.push(leased);
      else this.#leased.delete(key);
    }
    for (const cached of this.#cached.values()) if (cached.holders > 0) found.push(cached);
    for (const { moments, untilMs } of this.#groups) {
      if (untilMs > nowMs) for (const moment of moments) found.push(moment);
    }
    return found.map(({ line, cut, sizeBytes }) => ({ line, cut, sizeBytes }));
  }

  /** All maps that are kept, with their moments. */
  kept(): readonly (Moment & { readonly map: BlockMap })[] {
    return [...this.#cached.values()];
  }

  /** Gives up maps that nobody uses, as far as there are too many or they take too much memory. */
  evictIdle(): void {
    let idle = 0;
    for (const cached of this.#cached.values()) if (cached.users === 0) idle += 1;
    for (const [key, cached] of this.#cached) {
      const isRoom =
        idle <= limits.idleMomentMapsMax &&
        this.#parts.leaves.usedBytes <= this.#parts.settings.mapBytes;
      if (idle === 0 || isRoom) return;
      if (cached.users > 0) continue;
      this.#giveUp(key, cached);
      idle -= 1;
    }
  }

  #giveUp(key: string, { map }: CachedMap): void {
    map.release();
    this.#cached.delete(key);
  }
}

function keyOf(moment: Moment): string {
  return `${moment.line}:${moment.cut}`;
}
