/** What each volume, snapshot and past state refers to, in plain sets: every block that is written gets a number of its own. */
import { AssertionError } from 'node:assert';

export interface ModelState {
  blocks: number[];
}

export interface ModelVolume extends ModelState {
  /** What undo goes back to. */
  left: readonly number[] | undefined;
  readonly snapshots: Map<string, readonly number[]>;
  /** Every block that some state of the volume ever referred to. */
  readonly past: Set<number>;
  /** Of a view. */
  readonly source: string | undefined;
}

/** A root of the pool, by the name that `space --what-if` uses (with "#undo" for what undo goes back to). */
interface ModelRoot {
  readonly volume: string;
  readonly name: string;
  readonly ids: ReadonlySet<number>;
}

export class SpaceModel {
  readonly volumes = new Map<string, ModelVolume>();
  #written = 0;

  volume(name: string): ModelVolume {
    const volume = this.volumes.get(name);
    if (volume === undefined) throw new AssertionError({ message: `no volume ${name}` });
    return volume;
  }

  create(name: string, blocks: readonly number[], source?: string): void {
    const made = { blocks: [...blocks], left: undefined, snapshots: new Map(), source };
    this.volumes.set(name, { ...made, past: new Set(blocks) });
  }

  write(name: string, block: number, count: number): void {
    const ids = Array.from({ length: count }, () => {
      this.#written += 1;
      return this.#written;
    });
    this.set(name, block, ids);
  }

  set(name: string, block: number, ids: readonly number[]): void {
    const volume = this.volume(name);
    volume.blocks.splice(block, ids.length, ...ids);
    for (const id of ids) volume.past.add(id);
  }

  /** Goes on from another state. */
  revert(name: string, blocks: readonly number[]): void {
    const volume = this.volume(name);
    volume.left = volume.blocks;
    volume.blocks = [...blocks];
    for (const id of blocks) volume.past.add(id);
  }

  resize(name: string, count: number): void {
    const volume = this.volume(name);
    volume.blocks = Array.from({ length: count }, (_, block) => volume.blocks[block] ?? 0);
  }

  /** Everything that the report must say, in blocks. */
  expected(deleted: readonly string[]): unknown {
    const roots = this.#roots();
    const held = union(roots);
    const past = union([...this.volumes.values()].map((volume) => ({ ids: volume.past })));
    const history = [...past].filter((id) => !held.has(id)).length;
    const left = union(roots.filter(({ volume, name }) => !isNamed(deleted, volume, name)));
    return {
      held: held.size,
      history,
      dead: this.#written - held.size - history,
      freed: held.size - left.size,
      volumes: [...this.volumes.keys()].sort().map((name) => this.#volume(name, roots)),
      snapshots: this.#snapshots(roots),
    };
  }

  #roots(): ModelRoot[] {
    return [...this.volumes].flatMap(([volume, { blocks, left, snapshots }]) => [
      { volume, name: volume, ids: idsOf(blocks) },
      ...(left === undefined ? [] : [{ volume, name: `${volume}#undo`, ids: idsOf(left) }]),
      ...[...snapshots].map(([name, ids]) => ({
        volume,
        name: `${volume}@${name}`,
        ids: idsOf(ids),
      })),
    ]);
  }

  #volume(name: string, roots: readonly ModelRoot[]): unknown {
    const { blocks } = this.volume(name);
    const own = roots.filter((root) => root.volume === name);
    const present = idsOf(blocks);
    const snapshots = union(own.filter((root) => root.name.includes('@')));
    const all = union(own);
    const others = union(roots.filter((root) => root.volume !== name));
    return {
      name,
      mapped: blocks.filter((id) => id > 0).length,
      present: present.size,
      snapshots: without(snapshots, present).size,
      undo: without(without(all, present), snapshots).size,
      unique: without(all, others).size,
      shared: all.size - without(all, others).size,
    };
  }

  #snapshots(roots: readonly ModelRoot[]): unknown {
    const unique: Record<string, number> = {};
    for (const root of roots) {
      if (!root.name.includes('@')) continue;
      const others = union(roots.filter((other) => other !== root));
      unique[root.name] = without(root.ids, others).size;
    }
    return unique;
  }
}

/** Zeros and holes (0 and below) are no blocks. */
function idsOf(blocks: readonly number[]): Set<number> {
  return new Set(blocks.filter((id) => id > 0));
}

function union(sets: readonly { readonly ids: Iterable<number> }[]): Set<number> {
  const all = new Set<number>();
  for (const { ids } of sets) for (const id of ids) if (id > 0) all.add(id);
  return all;
}

function without(ids: ReadonlySet<number>, others: ReadonlySet<number>): Set<number> {
  return new Set([...ids].filter((id) => !others.has(id)));
}

function isNamed(deleted: readonly string[], volume: string, name: string): boolean {
  return deleted.includes(volume) || deleted.includes(name);
}
