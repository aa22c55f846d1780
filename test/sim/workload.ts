/** A random client: what it asks next, given what the pool holds. */
import { present } from '../../src/base/assert.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import { type ModelVolume, type PoolState, volumeByName } from './model.ts';
import type { StepOp } from './program-steps.ts';
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
    if (dice < 470) return this.#write(volume);
    if (dice < 560) return this.#subBlockWrite(volume);
    if (dice < 680) return this.#atomic(volume);
    if (dice < 790) return this.#clone(volume, this.#random.pick(volumes));
    if (dice < 900) return this.#clear(volume);
    if (dice < 945) return this.#snapshot(volume);
    if (dice < 965) return this.#luState(volume);
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

  #subBlockRange(volume: ModelVolume): { offset: number; length: number } {
    const { first, blocks } = this.#range(volume, 3);
    const start = first * blockSizeBytes + this.#random.below(blockSizeBytes);
    const end = (first + blocks) * blockSizeBytes - this.#random.below(blockSizeBytes);
    const offset = Math.min(start, end - 1);
    return { offset, length: Math.max(1, end - offset) };
  }

  #subBlockWrite(volume: ModelVolume): NextOp {
    const range = this.#subBlockRange(volume);
    return { op: { kind: 'write', volume: volume.id, ...range }, isAlone: false };
  }

  /** Compare-and-write, mostly of what is there now, or OR write. */
  #atomic(volume: ModelVolume): NextOp {
    const { first, blocks } = this.#range(volume, 3);
    const whole = { offset: first * blockSizeBytes, length: blocks * blockSizeBytes };
    const range = this.#random.chance(0.5) ? this.#subBlockRange(volume) : whole;
    const place = { volume: volume.id, ...range };
    if (this.#random.chance(0.4)) return { op: { kind: 'orWrite', ...place }, isAlone: false };
    const wrongAt = this.#random.chance(0.3) ? this.#random.below(range.length) : undefined;
    return { op: { kind: 'compareAndWrite', ...place, wrongAt }, isAlone: false };
  }

  /** From the head of any volume, its own too, or from one of its snapshots. */
  #clone(volume: ModelVolume, from: ModelVolume): NextOp {
    const random = this.#random;
    const names = [...from.snapshotByName.keys()];
    const name = names.length > 0 && random.chance(0.4) ? random.pick(names) : undefined;
    const snapshot = name === undefined ? undefined : from.snapshotByName.get(name);
    const { first, blocks } = this.#range(volume, random.chance(0.8) ? 6 : 60);
    const sourceBlocks = (snapshot ?? from).sizeBytes / blockSizeBytes;
    const count = Math.min(blocks, sourceBlocks);
    const span = Math.max(count, Math.min(sourceBlocks, first + 20));
    const sourceFirst = random.below(span - count + 1);
    const isOverlapping =
      snapshot === undefined && from.id === volume.id && Math.abs(sourceFirst - first) < count;
    if (isOverlapping) return this.#atomic(volume);
    const op = {
      kind: 'clone' as const,
      volume: volume.id,
      offset: first * blockSizeBytes,
      length: count * blockSizeBytes,
      source: from.id,
      sourceOffset: sourceFirst * blockSizeBytes,
      snapshot: name === undefined ? undefined : { name, blocks: snapshot?.blocks ?? new Map() },
    };
    // The snapshot is opened first, which may take a while.
    return { op, isAlone: name !== undefined };
  }

  #luState(volume: ModelVolume): NextOp {
    return { op: { kind: 'luState', volume: volume.id }, isAlone: this.#isWriteBack };
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
