/**
 * Map budget: keeps the maps within the memory that they may take. RAM limits speed, never capacity.
 *
 *     too much ─▶ maps of moments that nobody uses are given up
 *              ─▶ leaves that did not change since the sealed part of the log are dropped: the index has them
 *
 * Every map is rebased first: heads to the end of the sealed log, moments to their own cut. So a leaf that several of them
 * share can be dropped for all at once: whichever touches it first gets the same content again.
 */
import type { Timer } from '../../base/ports.ts';
import { addressOf, positionOf } from '../format/address.ts';
import type { LogIndex } from '../index/log-index.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import type { MomentMaps } from './moment-maps.ts';
import type { PoolParts } from './parts.ts';

export class MapBudget {
  readonly #parts: PoolParts;
  readonly #moments: MomentMaps;
  readonly #index: LogIndex;
  #timer: Timer | undefined;
  /** Which map is the first to give up leaves next time. */
  #turn = 0;

  constructor(parts: PoolParts, moments: MomentMaps, index: LogIndex) {
    this.#parts = parts;
    this.#moments = moments;
    this.#index = index;
  }

  start(): void {
    this.#timer = this.#parts.host.timers.after(limits.mapBudgetCheckMs, () => {
      this.check();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Makes room when the maps take more than they may. */
  check(): void {
    const { leaves, settings, writer } = this.#parts;
    // The maps of a read-only pool may be all that is left of what its log said.
    if (leaves.usedBytes <= settings.mapBytes || writer === undefined) return;
    this.#moments.evictIdle();
    if (leaves.usedBytes <= settings.mapBytes) return;
    const position = this.#sealedEnd();
    const maps = this.#rebase(position);
    const wanted = settings.mapBytes * limits.mapBudgetKeptShare;
    for (let count = 0; count < maps.length && leaves.usedBytes > wanted; count += 1) {
      this.#turn += 1;
      maps[this.#turn % maps.length]?.drop(position, () => leaves.usedBytes <= wanted);
    }
  }

  /** Everything before this position is in segments that have footers. */
  #sealedEnd(): number {
    for (const { segId, crcPlace } of this.#parts.segmentById.values()) {
      if (crcPlace === undefined) return positionOf(addressOf(segId, 0), 0);
    }
    return positionOf(this.#parts.writer?.log.durableThrough ?? 0, 0);
  }

  #rebase(position: number): BlockMap[] {
    const maps = this.#moments.rebase();
    for (const { id, map } of this.#parts.lineById.values()) {
      map.rebase(this.#index.source(id, position));
      maps.push(map);
    }
    return maps;
  }
}
