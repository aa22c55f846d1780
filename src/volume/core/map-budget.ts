/**
 * Map budget: keeps the maps within the memory that they may take. RAM limits speed, never capacity.
 *
 *     too much ─▶ maps of moments that nobody uses are given up
 *              ─▶ leaves that did not change since the sealed part of the log are dropped: the index has them
 *
 * A page that loses leaves names where they come from: the index at the end of the sealed log for heads, at its own cut for a
 * moment. So whoever shares the page, also a fork that nobody here knows, has the same content made again.
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
  /** Which map is the first to give up leaves next time, from which page on. */
  #turn = 0;
  #page = 0;
  /** It gave up leaves, but time was over. */
  #isBehind = false;

  /** End of the log that the heads were opened at: before it their leaves do not tell when they changed. */
  readonly #openedAt: number;

  constructor(
    parts: PoolParts,
    { moments, index }: { readonly moments: MomentMaps; readonly index: LogIndex },
    openedAt: number,
  ) {
    this.#parts = parts;
    this.#moments = moments;
    this.#index = index;
    this.#openedAt = openedAt;
  }

  start(): void {
    const pauseMs = this.#isBehind ? limits.warmUpPauseMs : limits.mapBudgetCheckMs;
    this.#timer = this.#parts.host.timers.after(pauseMs, () => {
      this.check();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** Makes room when the maps take more than they may, for a slice of time. */
  check(): void {
    const { leaves, settings, writer } = this.#parts;
    this.#isBehind = false;
    // The maps of a read-only pool may be all that is left of what its log said.
    if (leaves.usedBytes <= settings.mapBytes || writer === undefined) return;
    this.#moments.evictIdle();
    if (leaves.usedBytes <= settings.mapBytes) return;
    const usedBefore = leaves.usedBytes;
    this.#dropLeaves(settings.mapBytes * limits.mapBudgetKeptShare);
    this.#isBehind = leaves.usedBytes > settings.mapBytes && leaves.usedBytes < usedBefore;
  }

  #dropLeaves(wanted: number): void {
    const { leaves, host } = this.#parts;
    const started = host.clock.monotonicMs();
    const isEnough = (): boolean =>
      leaves.usedBytes <= wanted || host.clock.monotonicMs() - started > limits.sliceMs;
    const position = Math.max(this.#sealedEnd(), this.#openedAt);
    const maps = this.#maps(position);
    for (let count = 0; count < maps.length && !isEnough(); count += 1) {
      const owner = maps[this.#turn % maps.length];
      if (owner === undefined) return;
      const source = this.#index.source(owner.line, owner.cut);
      const next = owner.map.drop({ position, source, page: this.#page }, isEnough);
      if (next === undefined) this.#turn += 1;
      this.#page = next ?? 0;
    }
  }

  /** Everything before this position is in segments that have footers. */
  #sealedEnd(): number {
    const first = this.#parts.segmentById.firstNotSealed();
    if (first !== undefined) return positionOf(addressOf(first.segId, 0), 0);
    return positionOf(this.#parts.writer?.log.durableThrough ?? 0, 0);
  }

  /** Maps of moments and heads, with where the index has what they hold. */
  #maps(position: number): { readonly line: number; readonly cut: number; map: BlockMap }[] {
    const heads = [...this.#parts.lineById.values()].map(({ id, map }) => {
      return { line: id, cut: position, map };
    });
    return [...this.#moments.kept(), ...heads];
  }
}
