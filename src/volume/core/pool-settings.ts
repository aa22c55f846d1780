/**
 * Pool settings: what is fixed in the superblock and an open pool may change: capacity, limits of use, how old history is, whether
 * it was closed in order.
 */
import { success } from '../../base/errors.ts';
import { DiskError } from '../../base/ports.ts';
import type { Superblock } from '../format/superblock.ts';
import { writeSuperblock } from '../recovery/superblock-file.ts';
import { retentionLimits } from '../retention/limits.ts';
import { checkCapacity } from './checks.ts';
import type { Done, Operator } from './operator.ts';
import type { PoolParts } from './parts.ts';
import type { Space } from './space.ts';
import { checkShares, type SpaceShares } from './space-limits.ts';

type Change = Partial<
  Pick<Superblock, 'capacityBytes' | 'isClean' | 'softPermille' | 'hardPermille'>
>;

export class PoolSettings {
  readonly #parts: PoolParts;
  readonly #operator: Operator;
  readonly #space: Space;
  #ageMs: number;
  /** The age that was written last, or that was tried. */
  #notedMs: number;

  constructor(operator: Operator, space: Space) {
    this.#parts = operator.parts;
    this.#operator = operator;
    this.#space = space;
    this.#ageMs = this.#parts.superblock.ageMs;
    this.#notedMs = this.#ageMs;
  }

  /**
   * How far the clock by which moments grow old has come. It is written now and then, and with everything else: the next opening
   * goes on there, because of the newest time of the log nobody knows whether the wall clock was right.
   */
  aged(ageMs: number): void {
    this.#ageMs = ageMs;
    if (ageMs - this.#notedMs < retentionLimits.ageNotedEveryMs) return;
    this.#notedMs = ageMs;
    try {
      this.#write({});
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      this.#parts.host.log.warn('how old history is was not noted', { error: thrown.message });
    }
  }

  /** New capacity in bytes; durable when `done` runs. */
  resize(capacityBytes: number, done: Done<undefined>): void {
    this.#operator.operate(done, (finish) => {
      const { thickBytes } = this.#space.limitsOf(capacityBytes);
      checkCapacity(this.#parts.superblock.name, capacityBytes, this.#space.report(), thickBytes);
      this.#write({ capacityBytes });
      this.#space.limitsChanged();
      finish(success(undefined));
    });
  }

  /** New soft and hard limit of use, as parts of the capacity; durable when `done` runs. */
  setLimits(shares: SpaceShares, done: Done<undefined>): void {
    this.#operator.operate(done, (finish) => {
      checkShares(shares);
      const softPermille = Math.round(shares.soft * 1000);
      const hardPermille = Math.round(shares.hard * 1000);
      this.#write({ softPermille, hardPermille });
      this.#space.limitsChanged();
      finish(success(undefined));
    });
  }

  /** A pool that could not be marked clean is recovered at the next open, as after a crash. */
  markClean(): void {
    try {
      this.#write({ isClean: true });
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      this.#parts.host.log.warn('the pool is not marked clean', { error: thrown.message });
    }
  }

  #write(change: Change): void {
    const { host, superblock, writer } = this.#parts;
    const next = {
      ...superblock,
      ...change,
      generation: superblock.generation + 1,
      durableThrough: writer?.log.durableThrough ?? superblock.durableThrough,
      hlcMsHighWater: Math.max(superblock.hlcMsHighWater, writer?.log.lastHlcMs ?? 0),
      segIdHighWater: writer?.supply.segIdHighWater ?? superblock.segIdHighWater,
      ageMs: Math.max(superblock.ageMs, Math.floor(this.#ageMs)),
    };
    writeSuperblock(host.disk, next);
    this.#parts.superblock = next;
  }
}
