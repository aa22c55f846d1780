/** What a pool must show in a run with the cleaner. Never changed: replaced. */
import { present } from '../../src/base/assert.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import type { Pool } from '../../src/volume/pool.ts';
import type { BlockOp, VolumeModel } from './history-model.ts';
import type { Machine } from './machine.ts';
import { Violation } from './oracle.ts';
import type { SeededRandom } from './random.ts';

export interface KeptVolume extends VolumeModel {
  /** No moment of it is ever given up. */
  readonly keepsAll: boolean;
}

/** All that the pool must show. Never changed: replaced. */
export interface PoolModel {
  readonly volumes: ReadonlyMap<string, KeptVolume>;
  /** By "volume@snapshot". */
  readonly snapshots: ReadonlyMap<string, readonly number[]>;
  readonly notes: readonly Note[];
}

interface Note {
  readonly position: number;
  readonly volumes: ReadonlyMap<string, KeptVolume>;
}

export interface Fork {
  readonly what: string;
  readonly machine: Machine;
  readonly model: PoolModel;
}

interface Place {
  readonly source: string;
  readonly at: string;
  readonly blocks: readonly number[];
}

/** A moment of the volume that is certainly kept: now, a snapshot, or a past one. */
export function anyPlace(model: PoolModel, source: string, random: SeededRandom): Place {
  const volume = present(model.volumes.get(source), 'volume of the model');
  const snapshot = [...model.snapshots].find(([key]) => key.startsWith(`${source}@`));
  if (snapshot !== undefined && random.chance(0.5)) {
    const [key, blocks] = snapshot;
    return { source, at: `snapshot:${key.slice(source.length + 1)}`, blocks };
  }
  const notes = model.notes.filter(({ volumes }) => volumes.has(source));
  if (volume.keepsAll && notes.length > 0 && random.chance(0.7)) {
    const { position, volumes } = random.pick(notes);
    const { blocks } = present(volumes.get(source), 'volume of then');
    return { source, at: `position:${position}`, blocks };
  }
  return { source, at: 'now', blocks: volume.blocks };
}

/** Segments that are left when nothing is: the one being written, and those that only a later one lets go. */
const segmentsLeftMax = 3;

/** Throws Violation when a pool of nothing still holds more than that. */
export function requireLittleLeft(pool: Pool, segmentSlots: number): void {
  const segments = pool.space().stored.segmentBytes / (segmentSlots * blockSizeBytes);
  if (segments <= segmentsLeftMax) return;
  throw new Violation(`${segments.toFixed(1)} segments are left of a pool of nothing`);
}

export function anyBlockOp(
  volume: string,
  size: number,
  sequence: number,
  random: SeededRandom,
): BlockOp {
  const first = random.below(size);
  const count = random.between(1, Math.min(size - first, random.chance(0.5) ? 3 : 16));
  const kind = random.pick(['write', 'write', 'write', 'write', 'trim', 'thick-zero'] as const);
  return { volume, kind, first, count, sequence };
}

export interface CleanRunResult {
  readonly lives: number;
  readonly passes: number;
  readonly packs: number;
  /** Packs that were cleaned themselves. */
  readonly packsReplaced: number;
  /** Crashes while the cleaner worked. */
  readonly crashes: number;
  readonly comparisons: number;
}
