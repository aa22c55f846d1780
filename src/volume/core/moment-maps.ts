/**
 * Moment maps: the state of a line before a position of the log, as a map: what snapshots, views, rollbacks and clones begin
 * with. Shared by all who use one, kept for a while after the last one left.
 *
 *     head unchanged since  ─▶ fork of the head (everything shared)
 *     kept from before      ─▶ that one: a fork of the head is kept at every snapshot, as memory allows
 *     else                  ─▶ nearest older map of the line (or nothing) ─▶ fork ─▶ replay of the log in between
 *
 * The replay is linear in the log between the two and runs in slices, so I/O goes on meanwhile.
 */
import { DiskError } from '../../base/ports.ts';
import { frameAddressOf, segIdOf, slotSizeBytes } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import { MapReplay } from '../recovery/replay.ts';
import type { Progress } from '../reports.ts';
import type { PoolParts } from './parts.ts';
import type { SegmentReading } from './segment-contents.ts';

/** A line as it was before position `cut`, when the volume was `sizeBytes` large. */
export interface Moment {
  readonly line: number;
  readonly cut: number;
  readonly sizeBytes: number;
}

export interface OpenMoment {
  readonly map: BlockMap;
  /** Gives it back; once. */
  release(): void;
}

interface CachedMap extends Moment {
  readonly map: BlockMap;
  users: number;
}

type Done = (opened: OpenMoment | undefined) => void;

/** A map that is being made, and who wants to know how far it is. */
interface Making {
  readonly waiting: Done[];
  readonly watching: Progress[];
}

interface Work {
  readonly replay: MapReplay;
  readonly segIds: readonly number[];
  readonly making: Making;
}

export class MomentMaps {
  readonly #parts: PoolParts;
  readonly #reading: SegmentReading;
  /** In order of last use, oldest first. */
  readonly #cached = new Map<string, CachedMap>();
  readonly #making = new Map<string, Making>();

  constructor(parts: PoolParts, reading: SegmentReading) {
    this.#parts = parts;
    this.#reading = reading;
  }

  /**
   * `done` gets undefined when the log cannot be read. May run inside the call. `progress` hears of segments replayed,
   * when there is anything to replay.
   */
  open(moment: Moment, done: Done, progress?: Progress): void {
    const key = keyOf(moment);
    const known = this.#cached.get(key);
    if (known !== undefined) {
      done(this.#use(key, known));
      return;
    }
    const line = this.#parts.lineById.get(moment.line);
    if (line !== undefined && line.lastPosition < moment.cut) {
      done(this.#use(key, this.#remember(moment, line.map.fork())));
      return;
    }
    const watching = progress === undefined ? [] : [progress];
    const under = this.#making.get(key);
    if (under !== undefined) {
      under.waiting.push(done);
      under.watching.push(...watching);
      return;
    }
    const making = { waiting: [done], watching };
    this.#making.set(key, making);
    this.#materialise(moment, making, (map) => {
      this.#making.delete(key);
      const made = map === undefined ? undefined : this.#remember(moment, map);
      for (const waiter of making.waiting) {
        waiter(made === undefined ? undefined : this.#use(key, made));
      }
      this.#evictIdle();
    });
  }

  /** Keeps `map` (taken over) for later, as long as memory allows. */
  keep(moment: Moment, map: BlockMap): void {
    if (this.#cached.has(keyOf(moment))) map.release();
    else this.#remember(moment, map);
    this.#evictIdle();
  }

  #remember(moment: Moment, map: BlockMap): CachedMap {
    const { line, cut, sizeBytes } = moment;
    const cached = { line, cut, sizeBytes, map, users: 0 };
    this.#cached.set(keyOf(moment), cached);
    return cached;
  }

  #use(key: string, cached: CachedMap): OpenMoment {
    cached.users += 1;
    this.#cached.delete(key);
    this.#cached.set(key, cached);
    let isReleased = false;
    return {
      map: cached.map,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        cached.users -= 1;
        this.#evictIdle();
      },
    };
  }

  #evictIdle(): void {
    let idle = 0;
    for (const cached of this.#cached.values()) if (cached.users === 0) idle += 1;
    for (const [key, cached] of this.#cached) {
      const isRoom =
        idle <= limits.idleMomentMapsMax &&
        this.#parts.leaves.usedBytes <= this.#parts.settings.mapBytes;
      if (idle === 0 || isRoom) return;
      if (cached.users > 0) continue;
      cached.map.release();
      this.#cached.delete(key);
      idle -= 1;
    }
  }

  #materialise(moment: Moment, making: Making, done: (map: BlockMap | undefined) => void): void {
    const { leaves, catalogue, segmentById } = this.#parts;
    const base = this.#nearestBelow(moment);
    const seed =
      base === undefined
        ? undefined
        : {
            line: base.line,
            position: base.cut,
            map: base.map.fork(),
            blockCount: base.sizeBytes / slotSizeBytes,
          };
    const wanted = [{ line: moment.line, before: moment.cut }];
    const replay = new MapReplay(leaves, catalogue, wanted, seed);
    const first = segIdOf(frameAddressOf(replay.from));
    const last = segIdOf(frameAddressOf(moment.cut));
    const segIds = [...segmentById.keys()].filter((segId) => segId >= first && segId <= last);
    this.#slice({ replay, segIds, making }, 0, (isGood) => {
      if (isGood) done(replay.finish().get(moment.line)?.map);
      else {
        replay.abandon();
        done(undefined);
      }
    });
  }

  #nearestBelow(moment: Moment): CachedMap | undefined {
    let best: CachedMap | undefined;
    for (const cached of this.#cached.values()) {
      const isBelow = cached.line === moment.line && cached.cut <= moment.cut;
      if (isBelow && (best === undefined || cached.cut > best.cut)) best = cached;
    }
    return best;
  }

  /** Replays segments from `index` on until the slice is used up, then lets others run. */
  #slice(work: Work, index: number, done: (isGood: boolean) => void): void {
    const { host } = this.#parts;
    const { replay, segIds, making } = work;
    const started = host.clock.monotonicMs();
    let next = index;
    try {
      while (next < segIds.length && host.clock.monotonicMs() - started < limits.sliceMs) {
        this.#replaySegment(replay, segIds[next] ?? 0);
        next += 1;
      }
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      host.log.error('the map of a moment cannot be made', { error: thrown.message });
      done(false);
      return;
    }
    for (const watcher of making.watching) watcher(next, segIds.length);
    if (next === segIds.length) {
      done(true);
      return;
    }
    host.timers.defer(() => {
      this.#slice(work, next, done);
    });
  }

  #replaySegment(replay: MapReplay, segId: number): void {
    this.#reading.visit(segId, (entry) => {
      replay.apply(entry);
      return true;
    });
  }
}

function keyOf(moment: Moment): string {
  return `${moment.line}:${moment.cut}`;
}
