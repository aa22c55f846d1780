/** What a pool must show in a run with the cleaner. Never changed: replaced. */
import { present } from '../../src/base/assert.ts';
import { type CdpPolicy, parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { type BlockOp, hole, type VolumeModel } from './history-model.ts';
import type { Machine } from './machine.ts';
import { ManifestStore } from './manifest-store.ts';
import { Violation } from './oracle.ts';
import type { SeededRandom } from './random.ts';

export interface KeptVolume extends VolumeModel {
  /** Names are given again, ids are not. */
  readonly id: number;
  /** Id of what it is a view of. */
  readonly sourceId: number | undefined;
  /** No moment of it is ever given up. */
  readonly keepsAll: boolean;
}

/** All that the pool must show. Never changed: replaced. */
export interface PoolModel {
  readonly volumes: ReadonlyMap<string, KeptVolume>;
  /** By "volume@snapshot". */
  readonly snapshots: ReadonlyMap<string, readonly number[]>;
  readonly notes: readonly Note[];
  /** What each pin showed when it was seen first, by "id:cut". */
  readonly pins: ReadonlyMap<string, string>;
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
  const notes = model.notes.filter(({ volumes }) => volumes.get(source)?.id === volume.id);
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

/** Of volumes that do not keep all; some have pins. */
const policies = ['all:0', 'all:0', 'all:0,10s:5m,1m:30m', 'all:20s,10s:10m'];
/** What a device reads at once. */
const blocksMax = 256;

/** Of a volume that does not keep all. */
export function anyPolicy(random: SeededRandom): CdpPolicy {
  return present(parseCdpPolicy(random.pick(policies)), 'policy');
}

/** The blocks of a volume that is made smaller or larger. */
export function resized(blocks: readonly number[], random: SeededRandom): number[] {
  const length = random.between(8, blocksMax);
  return Array.from({ length }, (_, block) => blocks[block] ?? hole);
}

/** The next life often finds an older manifest, or none. */
export function changeManifest(machine: Machine, random: SeededRandom): void {
  if (random.chance(0.15)) machine.manifest.restoreEarlier(random);
  else if (random.chance(0.1)) machine.manifest = new ManifestStore();
}

/** Names, also of what was deleted, and ids that are never used twice. */
export class Names {
  readonly #random: SeededRandom;
  readonly #free: string[] = [];
  #count = 0;
  #ids = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  newId(): number {
    this.#ids += 1;
    return this.#ids;
  }

  another(kind: string): string {
    const at = this.#free.findIndex((name) => name.startsWith(kind));
    if (at >= 0 && this.#random.chance(0.6)) return this.#free.splice(at, 1)[0] ?? kind;
    this.#count += 1;
    return `${kind}${this.#count}`;
  }

  /** What had the name was deleted. */
  free(name: string): void {
    this.#free.push(name);
  }
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
