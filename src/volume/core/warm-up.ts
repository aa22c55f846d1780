/**
 * Warm-up: fills the maps of volumes and views behind the scenes once the pool is open, so that first touches find them in
 * memory and the mapped size is known; in slices, with pauses, and not beyond half of the memory that maps may take. Thick volumes
 * come first, and are looked at in full whatever the memory: what the pool must keep for them follows from it.
 *
 *     opening: a slice in place ─▶ pool serves ─▶ pause ─▶ slice: leaf by leaf, one that must be read is waited for ─▶ pause ...
 */
import type { Timer } from '../../base/ports.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import { Provisioning } from '../catalogue/records.ts';
import { limits } from '../limits.ts';
import type { BlockMap } from '../map/block-map.ts';
import { leafBlocks } from '../map/leaf-store.ts';
import type { Done } from './operator.ts';
import type { PoolParts } from './parts.ts';

export class WarmUp {
  readonly #parts: PoolParts;
  #timer: Timer | undefined;
  /** Lines still to do, and the leaf to go on with in the first of them. */
  #lines: number[] = [];
  #leaf = 0;
  /** Lines that were given up for lack of memory. */
  readonly #givenUp = new Set<number>();
  #isStopped = false;
  /** What is left of a slice. */
  #leavesLeft = 0;
  #sliceEndMs = 0;
  readonly #afterFill = (): void => {
    this.#goOn();
  };

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** Begins with a first slice, within the call: a small pool is warm then. */
  start(): void {
    const ids = [...this.#parts.lineById.keys()];
    const thick = this.#thickLines();
    this.#lines = ids.sort((left, right) => Number(thick.has(right)) - Number(thick.has(left)));
    this.#begin();
  }

  /** `done`, after an operation in which a volume began a new line: that is filled, too. */
  after(done: Done<VolumeState>): Done<VolumeState> {
    return (outcome) => {
      if (outcome.ok) this.#add(outcome.value.line);
      done(outcome);
    };
  }

  /** As `after`, for several volumes. */
  afterAll(done: Done<readonly VolumeState[]>): Done<readonly VolumeState[]> {
    return (outcome) => {
      if (outcome.ok) for (const { line } of outcome.value) this.#add(line);
      done(outcome);
    };
  }

  #add(line: number): void {
    this.#lines.push(line);
    if (this.#lines.length === 1) this.#pause();
  }

  /** Whether a part of the line's map was not looked at since opening: its mapped size is at least what it says. */
  isPartial(line: number): boolean {
    return this.#lines.includes(line) || this.#givenUp.has(line);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** Leaves in place: nobody is served yet. */
  #begin(): void {
    const { clock } = this.#parts.host;
    const started = clock.monotonicMs();
    let leavesLeft: number = limits.warmUpLeavesPerSlice;
    while (leavesLeft > 0 && clock.monotonicMs() - started <= limits.sliceMs) {
      const next = this.#next();
      if (next === undefined) return;
      next.fillNow(this.#leaf * leafBlocks);
      this.#leaf += 1;
      leavesLeft -= 1;
    }
    this.#pause();
  }

  #slice(): void {
    const { clock } = this.#parts.host;
    this.#sliceEndMs = clock.monotonicMs() + limits.sliceMs;
    this.#leavesLeft = limits.warmUpLeavesPerSlice;
    this.#goOn();
  }

  #goOn(): void {
    const { clock } = this.#parts.host;
    while (!this.#isStopped) {
      if (this.#leavesLeft === 0 || clock.monotonicMs() > this.#sliceEndMs) {
        this.#pause();
        return;
      }
      const next = this.#next();
      if (next === undefined) return;
      const block = this.#leaf * leafBlocks;
      this.#leavesLeft -= 1;
      this.#leaf += 1;
      if (!next.fillLater(block, this.#afterFill)) return;
    }
  }

  #pause(): void {
    if (this.#isStopped) return;
    this.#timer = this.#parts.host.timers.after(limits.warmUpPauseMs, () => {
      this.#slice();
    });
  }

  /** The map with a leaf to fill, which `#leaf` is the number of; undefined when all is done or memory is short. */
  #next(): BlockMap | undefined {
    const { leaves, settings, lineById } = this.#parts;
    while (this.#lines.length > 0) {
      if (leaves.usedBytes > settings.mapBytes / 2) this.#giveUp();
      if (leaves.usedBytes > settings.mapBytes) {
        // Until others have given up theirs.
        if (this.#lines.length > 0) this.#pause();
        return undefined;
      }
      const map = lineById.get(this.#lines[0] ?? 0)?.map;
      const leaf = map?.nextUnknown(this.#leaf);
      if (leaf !== undefined) {
        this.#leaf = leaf;
        return map;
      }
      this.#lines.shift();
      this.#leaf = 0;
    }
    return undefined;
  }

  #giveUp(): void {
    const thick = this.#thickLines();
    for (const line of this.#lines) if (!thick.has(line)) this.#givenUp.add(line);
    const before = this.#lines[0];
    this.#lines = this.#lines.filter((line) => thick.has(line));
    if (this.#lines[0] !== before) this.#leaf = 0;
  }

  #thickLines(): Set<number> {
    const volumes = this.#parts.catalogue.volumes();
    const thick = volumes.filter(({ provisioning }) => provisioning === Provisioning.thick);
    return new Set(thick.map(({ line }) => line));
  }
}
