/**
 * Snapshot maps: the state of a volume at a cut, as a map. Made when a snapshot is opened, shared by all who have it open,
 * kept for a few after the last one left.
 *
 *     head unchanged since the cut  ─▶ fork of the head (leaves shared)
 *     else  nearest older open map of the volume (or nothing) ─▶ fork ─▶ replay of the log between the two cuts
 *
 * The replay is linear in the log between the cuts and runs in slices, so I/O goes on meanwhile.
 */

import { DiskError } from '../../base/ports.ts';
import type { SnapshotState, VolumeState } from '../catalogue/catalogue.ts';
import { decodeRecord } from '../catalogue/records.ts';
import { addressOf, frameAddressOf, segIdOf, slotSizeBytes } from '../format/address.ts';
import type { FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { isDataType, RecordType } from '../format/frame.ts';
import { limits } from '../limits.ts';
import { BlockMap } from '../map/block-map.ts';
import { paintEntry } from '../recovery/replay.ts';
import { eachFooterEntry, SegmentSource } from '../recovery/segment-source.ts';
import type { PoolParts } from './parts.ts';

export interface OpenSnapshotMap {
  readonly map: BlockMap;
  /** Gives it back; once. */
  release(): void;
}

interface CachedMap {
  readonly line: number;
  readonly cut: number;
  readonly map: BlockMap;
  readonly blockCount: number;
  users: number;
}

/** State of one replay between its slices. */
interface Materialisation {
  readonly line: number;
  readonly from: number;
  readonly cut: number;
  readonly map: BlockMap;
  blockCount: number;
}

export class SnapshotMaps {
  readonly #parts: PoolParts;
  /** In order of last use, oldest first. */
  readonly #cached = new Map<string, CachedMap>();
  /** Who waits for a map that is being made, by cut and line. */
  readonly #waiting = new Map<string, ((opened: OpenSnapshotMap | undefined) => void)[]>();

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** `done` gets undefined when the log between the cuts cannot be read. May run inside the call. */
  open(
    volume: VolumeState,
    snapshot: SnapshotState,
    done: (opened: OpenSnapshotMap | undefined) => void,
  ): void {
    const known = this.#cached.get(keyOf(snapshot));
    if (known !== undefined) {
      done(this.#use(keyOf(snapshot), known));
      return;
    }
    const line = this.#parts.lineById.get(volume.line);
    if (line !== undefined && line.id === snapshot.line && line.lastPosition < snapshot.cut) {
      done(this.#add(snapshot, line.map.fork()));
      return;
    }
    const waitKey = keyOf(snapshot);
    const waiting = this.#waiting.get(waitKey);
    if (waiting !== undefined) {
      waiting.push(done);
      return;
    }
    this.#waiting.set(waitKey, [done]);
    this.#materialise(volume, snapshot, (map) => {
      const waiters = this.#waiting.get(waitKey) ?? [];
      this.#waiting.delete(waitKey);
      if (map !== undefined) this.#remember(snapshot, map);
      for (const waiter of waiters) {
        const cached = this.#cached.get(keyOf(snapshot));
        waiter(cached === undefined ? undefined : this.#use(keyOf(snapshot), cached));
      }
      this.#evictIdle();
    });
  }

  /** Forgets the maps of a line (its volume was deleted) that nobody uses. */
  dropIdle(): void {
    for (const [key, cached] of this.#cached) {
      if (cached.users > 0) continue;
      cached.map.release();
      this.#cached.delete(key);
    }
  }

  #remember(snapshot: SnapshotState, map: BlockMap): CachedMap {
    const cached = {
      line: snapshot.line,
      cut: snapshot.cut,
      map,
      blockCount: snapshot.sizeBytes / slotSizeBytes,
      users: 0,
    };
    this.#cached.set(keyOf(snapshot), cached);
    return cached;
  }

  #add(snapshot: SnapshotState, map: BlockMap): OpenSnapshotMap {
    return this.#use(keyOf(snapshot), this.#remember(snapshot, map));
  }

  #use(key: string, cached: CachedMap): OpenSnapshotMap {
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
      if (idle <= limits.idleSnapshotMapsMax) return;
      if (cached.users > 0) continue;
      cached.map.release();
      this.#cached.delete(key);
      idle -= 1;
    }
  }

  #materialise(
    volume: VolumeState,
    snapshot: SnapshotState,
    done: (map: BlockMap | undefined) => void,
  ): void {
    const base = this.#nearestBelow(snapshot);
    const from = base?.cut ?? volume.createdPosition;
    const blockCount = snapshot.sizeBytes / slotSizeBytes;
    const work: Materialisation = {
      line: snapshot.line,
      from,
      cut: snapshot.cut,
      // Before a shrink the volume was larger: the map follows the resizes it meets.
      map: base?.map.fork() ?? new BlockMap(this.#parts.leaves, 0),
      blockCount: base?.blockCount ?? 0,
    };
    const segIds = [...this.#parts.segmentById.keys()].filter(
      (segId) =>
        segId >= segIdOf(frameAddressOf(from)) && segId <= segIdOf(frameAddressOf(snapshot.cut)),
    );
    this.#slice(work, segIds, 0, (isGood) => {
      if (isGood) work.map.resize(blockCount);
      else work.map.release();
      done(isGood ? work.map : undefined);
    });
  }

  #nearestBelow(snapshot: SnapshotState): CachedMap | undefined {
    let best: CachedMap | undefined;
    for (const cached of this.#cached.values()) {
      const isBelow = cached.line === snapshot.line && cached.cut <= snapshot.cut;
      if (isBelow && (best === undefined || cached.cut > best.cut)) best = cached;
    }
    return best;
  }

  /** Replays segments from `index` on until the slice is used up, then lets others run. */
  #slice(
    work: Materialisation,
    segIds: readonly number[],
    index: number,
    done: (isGood: boolean) => void,
  ): void {
    const { host } = this.#parts;
    const started = host.clock.monotonicMs();
    let next = index;
    try {
      while (next < segIds.length && host.clock.monotonicMs() - started < limits.sliceMs) {
        this.#replaySegment(work, segIds[next] ?? 0);
        next += 1;
      }
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      host.log.error('snapshot map cannot be made', { error: thrown.message });
      done(false);
      return;
    }
    if (next === segIds.length) {
      done(true);
      return;
    }
    host.timers.defer(() => {
      this.#slice(work, segIds, next, done);
    });
  }

  #replaySegment(work: Materialisation, segId: number): void {
    const { host, settings, seeds, segmentById, writer } = this.#parts;
    const source = new SegmentSource(host.disk, segId, settings.segmentSlots, seeds);
    const segment = segmentById.get(segId);
    try {
      const visit = (entry: FooterEntry): void => {
        paintWork(work, entry, source);
      };
      const footer = segment?.crcPlace === undefined ? undefined : source.footer(segment.epoch);
      if (footer !== undefined) {
        eachFooterEntry(footer, visit);
        return;
      }
      const isCurrent = writer?.log.place.segId === segId;
      const endAddress = isCurrent ? writer.log.durableThrough : (segment?.endAddress ?? 0);
      if (endAddress <= addressOf(segId, 1)) return;
      const scan = source.scan({
        verifiesData: false,
        endLimit: endAddress,
        durableLimit: endAddress,
      });
      if (scan === undefined || scan.faults.length > 0) {
        throw new FormatError(`segment ${segId}: ${scan?.faults[0] ?? 'header unreadable'}`);
      }
      scan.entries.forEach(visit);
    } finally {
      source.close();
    }
  }
}

function keyOf(snapshot: SnapshotState): string {
  return `${snapshot.line}:${snapshot.cut}`;
}

function paintWork(work: Materialisation, entry: FooterEntry, source: SegmentSource): void {
  const isWanted =
    entry.line === work.line && entry.position >= work.from && entry.position < work.cut;
  if (!isWanted) return;
  if (isDataType(entry.type)) {
    paintEntry(work.map, work.blockCount, entry);
  } else if (entry.type === RecordType.volCreate || entry.type === RecordType.volResize) {
    const record = decodeRecord(entry.type, entry.line, source.payload(entry.position));
    if (record.kind !== 'vol-create' && record.kind !== 'vol-resize') return;
    work.blockCount = record.sizeBytes / slotSizeBytes;
    work.map.resize(work.blockCount);
  }
}
