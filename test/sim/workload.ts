/** A random client: what it asks next, given what the pool holds. */
import { present } from '../../src/base/assert.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import { type ModelVolume, type PoolState, volumeByName } from './model.ts';
import type { StepOp } from './programs.ts';
import type { SeededRandom } from './random.ts';

const volumesMax = 3;
const snapshotsMax = 4;
const volumeNames = ['alpha', 'beta', 'gamma', 'delta'] as const;
const snapshotNames = ['one', 'two', 'three', 'four', 'five'] as const;
/** Blocks of new volumes; more than 512 means more than one leaf of the map. */
const volumeBlocks = [16, 48, 200, 1100] as const;

/** `alone`: nothing else may be in flight while it is. */
export interface NextOp {
  readonly op: StepOp;
  readonly isAlone: boolean;
}

export interface WorkloadOptions {
  readonly largestWriteBlocks: number;
  /** Zeros and trims need not keep to whole blocks. */
  readonly hasRagged: boolean;
  /**
   * All volumes answer before the flush. Catalogue operations, which wait for it, are then alone in flight: the order of
   * answers is the order of the log only among operations of one kind.
   */
  readonly isWriteBack: boolean;
}

export class Workload {
  readonly #random: SeededRandom;
  readonly #largestWriteBlocks: number;
  readonly #hasRagged: boolean;
  readonly #isWriteBack: boolean;
  #nextVolume = 1;
  #sequence = 0;

  constructor(random: SeededRandom, options: WorkloadOptions) {
    const { largestWriteBlocks, hasRagged, isWriteBack } = options;
    this.#hasRagged = hasRagged;
    this.#isWriteBack = isWriteBack;
    this.#random = random;
    this.#largestWriteBlocks = largestWriteBlocks;
  }

  /** For the stamp of the next write: never the same twice in one run. */
  nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  /** `isBusy`: a catalogue operation is in flight, so the state is about to change; only data operations then. */
  next(state: PoolState, isBusy: boolean): NextOp {
    const volumes = [...state.values()];
    if (volumes.length === 0) return this.#volumeCreate(state);
    const volume = this.#random.pick(volumes);
    const dice = this.#random.below(isBusy ? 900 : 1000);
    if (dice < 640) return this.#write(volume);
    if (dice < 760) return this.#subBlockWrite(volume);
    if (dice < 900) return this.#clear(volume);
    if (dice < 950) return this.#snapshot(volume);
    return this.#volume(volume, state);
  }

  /** A place and length of whole blocks; half of them in the first blocks, so that overwrites meet. */
  #range(volume: ModelVolume, blocksMax: number): { first: number; blocks: number } {
    const count = volume.sizeBytes / blockSizeBytes;
    const blocks = Math.min(count, this.#random.between(1, Math.max(1, blocksMax)));
    const span = this.#random.chance(0.5) ? Math.min(count, 12) : count;
    const first = Math.min(this.#random.below(span), count - blocks);
    return { first, blocks };
  }

  #write(volume: ModelVolume): NextOp {
    const isSmall = this.#random.chance(0.7);
    const { first, blocks } = this.#range(volume, isSmall ? 3 : this.#largestWriteBlocks);
    const offset = first * blockSizeBytes;
    const length = blocks * blockSizeBytes;
    return { op: { kind: 'write', volume: volume.id, offset, length }, isAlone: false };
  }

  #subBlockWrite(volume: ModelVolume): NextOp {
    const { first, blocks } = this.#range(volume, 3);
    const start = first * blockSizeBytes + this.#random.below(blockSizeBytes);
    const end = (first + blocks) * blockSizeBytes - this.#random.below(blockSizeBytes);
    const offset = Math.min(start, end - 1);
    const length = Math.max(1, end - offset);
    return { op: { kind: 'write', volume: volume.id, offset, length }, isAlone: false };
  }

  #clear(volume: ModelVolume): NextOp {
    const random = this.#random;
    const { first, blocks } = this.#range(volume, random.chance(0.1) ? 1200 : 8);
    const isRagged = this.#hasRagged && random.chance(0.2);
    const head = isRagged ? random.below(blockSizeBytes) : 0;
    const tail = isRagged ? random.below(blockSizeBytes - head) : 0;
    const offset = first * blockSizeBytes + head;
    const length = blocks * blockSizeBytes - head - tail;
    const kind = random.chance(0.5) ? 'trim' : 'zero';
    const noHole = kind === 'zero' && random.chance(0.5);
    return { op: { kind, volume: volume.id, offset, length, noHole }, isAlone: isRagged };
  }

  #snapshot(volume: ModelVolume): NextOp {
    const names = [...volume.snapshotByName.keys()];
    const free = snapshotNames.filter((name) => !volume.snapshotByName.has(name));
    if (names.length >= snapshotsMax || (names.length > 0 && this.#random.chance(0.3))) {
      const name = this.#random.pick(names);
      return {
        op: { kind: 'snapshotDelete', volume: volume.id, name },
        isAlone: this.#isWriteBack,
      };
    }
    const name = this.#random.pick(free);
    return {
      op: { kind: 'snapshotCreate', volume: volume.id, name },
      isAlone: this.#isWriteBack,
    };
  }

  #volumeCreate(state: PoolState): NextOp {
    const free = volumeNames.filter((name) => volumeByName(state, name) === undefined);
    const volume = this.#nextVolume;
    this.#nextVolume += 1;
    const name = this.#random.pick(free);
    const sizeBytes = this.#random.pick(volumeBlocks) * blockSizeBytes;
    const isWriteBack = this.#isWriteBack;
    return { op: { kind: 'volumeCreate', volume, name, sizeBytes, isWriteBack }, isAlone: true };
  }

  #volume(volume: ModelVolume, state: PoolState): NextOp {
    const dice = this.#random.below(10);
    const free = volumeNames.filter((name) => volumeByName(state, name) === undefined);
    if (dice < 4 && state.size < volumesMax) return this.#volumeCreate(state);
    if (dice < 6) {
      const name = this.#random.pick(free);
      return { op: { kind: 'volumeRename', volume: volume.id, name }, isAlone: true };
    }
    if (dice < 9) {
      const sizeBytes = present(this.#random.pick(volumeBlocks), 'size') * blockSizeBytes;
      return {
        op: { kind: 'volumeResize', volume: volume.id, sizeBytes },
        isAlone: this.#isWriteBack,
      };
    }
    return { op: { kind: 'volumeDelete', volume: volume.id }, isAlone: true };
  }
}
