/** Random histories of volumes, snapshots, views, clones, rollbacks and sizes, each step done to a pool and to plain sets. */
import { afterEach, expect, vi } from 'vitest';
import { IoKind, IoStatus } from '../../../../src/device/block-device.ts';
import type { HorizonState } from '../../../../src/volume/catalogue/kept-moments.ts';
import { HorizonReason } from '../../../../src/volume/catalogue/retention-records.ts';
import type { ResolvedMoment } from '../../../../src/volume/history/resolve.ts';
import { livenessLimits } from '../../../../src/volume/liveness/limits.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import type { PoolSpace, SpaceQuestion } from '../../../../src/volume/reports.ts';
import { ask, blockBytes, clone, submit, write } from '../pool-world.ts';
import { SpaceModel } from './space-model.ts';

/** The limits of liveness, which a test may change: the next one finds them as they were. */
export function limitsOfTests(): typeof livenessLimits {
  const before = { ...livenessLimits };
  afterEach(() => {
    Object.assign(livenessLimits, before);
  });
  return livenessLimits;
}

export async function account(
  pool: Pool,
  question: Partial<SpaceQuestion> = {},
): Promise<PoolSpace> {
  const asked = { volume: undefined, deleted: [], ...question };
  return await ask((done) => {
    pool.spaceAccount(asked, () => undefined, done);
  });
}

/** Numbers from a seed (xorshift), the same everywhere. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed * 2654435761 + 1;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  of<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to choose from');
    return item;
  }
}

/** Random histories, each step done to the pool and to the model. */
export class History {
  readonly model = new SpaceModel();
  readonly #dice: Dice;
  pool: Pool;
  readonly #hasForks: boolean;
  #made = 0;

  /** `hasForks`: with views, clones of volumes, rollbacks. */
  constructor(pool: Pool, seed: number, hasForks = true) {
    this.pool = pool;
    this.#dice = new Dice(seed);
    this.#hasForks = hasForks;
  }

  #newName(): string {
    this.#made += 1;
    return `v${this.#made}`;
  }

  async create(): Promise<void> {
    const name = this.#newName();
    const blocks = this.#dice.of([40, 1500, 6000]);
    await ask((done) => {
      this.pool.volumeCreate({ name, sizeBytes: blocks * blockBytes }, done);
    });
    this.model.create(
      name,
      Array.from({ length: blocks }, () => 0),
    );
  }

  async step(): Promise<void> {
    if (this.model.volumes.size === 0) await this.create();
    const name = this.#dice.of([...this.model.volumes.keys()]);
    const steps = [
      async () => await this.#write(name),
      async () => await this.#write(name),
      async () => await this.#write(name),
      async () => await this.#trim(name),
      async () => await this.#copy(name),
      async () => await this.#snapshot(name),
      async () => await this.#snapshot(name),
      async () => await this.#rare(name),
    ];
    await this.#dice.of(steps)();
  }

  async #rare(name: string): Promise<void> {
    const forks = [
      async () => await this.#view(name),
      async () => await this.#cloneVolume(name),
      async () => await this.#rollback(name),
      async () => await this.#undo(name),
      async () => await this.#refresh(name),
    ];
    const steps = [
      async () => await this.create(),
      ...(this.#hasForks ? forks : []),
      async () => await this.#deleteSnapshot(name),
      async () => await this.#deleteSnapshot(name),
      async () => await this.#delete(name),
      async () => await this.#resize(name),
    ];
    await this.#dice.of(steps)();
  }

  async #write(name: string): Promise<void> {
    const { length } = this.model.volume(name).blocks;
    const block = this.#dice.below(length);
    const count = 1 + this.#dice.below(Math.min(20, length - block));
    const bytes = new Uint8Array(count * blockBytes).fill(1 + this.#dice.below(255));
    const device = this.pool.volumeOpen(name);
    expect(await write(this.pool, device, block * blockBytes, bytes)).toBe(IoStatus.ok);
    this.model.write(name, block, count);
  }

  async #trim(name: string): Promise<void> {
    const { length } = this.model.volume(name).blocks;
    const block = this.#dice.below(length);
    const count = 1 + this.#dice.below(length - block);
    const kind = this.#dice.of([IoKind.trim, IoKind.zero]);
    const range = { offset: block * blockBytes, length: count * blockBytes };
    expect((await submit(this.pool.volumeOpen(name), { kind, ...range })).status).toBe(IoStatus.ok);
    this.model.set(
      name,
      block,
      Array.from({ length: count }, () => 0),
    );
  }

  async #copy(name: string): Promise<void> {
    const other = this.#dice.of([...this.model.volumes.keys()]);
    const source = this.model.volume(other).blocks;
    const target = this.model.volume(name).blocks;
    const from = this.#dice.below(source.length);
    const to = this.#dice.below(target.length);
    const count = 1 + this.#dice.below(Math.min(30, source.length - from, target.length - to));
    if (other === name && Math.abs(from - to) < count) return;
    const status = await clone(this.pool.volumeOpen(name), {
      source: this.pool.volumeOpen(other),
      sourceOffset: from * blockBytes,
      offset: to * blockBytes,
      length: count * blockBytes,
    });
    expect(status).toBe(IoStatus.ok);
    this.model.set(name, to, source.slice(from, from + count));
  }

  async #snapshot(name: string): Promise<void> {
    const { snapshots, blocks } = this.model.volume(name);
    const snapshot = this.#newName();
    await ask((done) => {
      this.pool.snapshotCreate([{ volume: name, name: snapshot }], done);
    });
    snapshots.set(snapshot, [...blocks]);
  }

  async #deleteSnapshot(volume: string): Promise<void> {
    const { snapshots } = this.model.volume(volume);
    if (snapshots.size === 0) return;
    const name = this.#dice.of([...snapshots.keys()]);
    await ask((done) => {
      this.pool.snapshotDelete({ volume, name }, done);
    });
    snapshots.delete(name);
  }

  /** A moment of a volume, by name, and what it refers to. */
  #moment(name: string): { readonly at: string; readonly blocks: readonly number[] } {
    const { snapshots, blocks } = this.model.volume(name);
    if (snapshots.size === 0 || this.#dice.below(3) === 0) return { at: 'now', blocks };
    const snapshot = this.#dice.of([...snapshots.keys()]);
    return { at: `snapshot:${snapshot}`, blocks: snapshots.get(snapshot) ?? [] };
  }

  async #view(source: string): Promise<void> {
    const name = this.#newName();
    const { at, blocks } = this.#moment(source);
    await ask((done) => {
      this.pool.viewCreate({ source, name, at, isClone: false }, done);
    });
    this.model.create(name, blocks, source);
  }

  async #cloneVolume(source: string): Promise<void> {
    const name = this.#newName();
    await ask((done) => {
      this.pool.viewCreate({ source, name, at: 'now', isClone: true }, done);
    });
    this.model.create(name, this.model.volume(source).blocks);
  }

  async #rollback(name: string): Promise<void> {
    const { at, blocks } = this.#moment(name);
    if (at === 'now') return;
    await ask((done) => {
      this.pool.volumeRollback({ name, to: at }, done);
    });
    this.model.revert(name, blocks);
  }

  async #undo(name: string): Promise<void> {
    const { left } = this.model.volume(name);
    if (left === undefined) return;
    await ask((done) => {
      this.pool.volumeUndoRollback(name, done);
    });
    this.model.revert(name, left);
  }

  async #refresh(name: string): Promise<void> {
    const { source } = this.model.volume(name);
    if (source === undefined || !this.model.volumes.has(source)) return;
    const { at, blocks } = this.#moment(source);
    await ask((done) => {
      this.pool.viewRefresh({ name, at }, done);
    });
    this.model.revert(name, blocks);
  }

  async #delete(name: string): Promise<void> {
    await ask((done) => {
      this.pool.volumeDelete({ name, force: true }, done);
    });
    this.model.volumes.delete(name);
  }

  async #resize(name: string): Promise<void> {
    const blocks = this.#dice.of([20, 600, 5000]);
    await ask((done) => {
      this.pool.volumeResize({ name, sizeBytes: blocks * blockBytes, force: true }, done);
    });
    this.model.resize(name, blocks);
  }

  /** Ends every window here: of the past only snapshots stay, and what undo goes back to. */
  async forget(): Promise<void> {
    const { history, retention } = this.pool;
    for (const volume of this.model.volumes.keys()) {
      const { moment } = await ask<ResolvedMoment>((done) => {
        history.resolve(volume, 'now', done);
      });
      // The steward looks where the log ends every few milliseconds.
      await vi.waitFor(async () => {
        const horizon = await ask<HorizonState | undefined>((done) => {
          retention.advanceHorizon({ volume, keepMs: -60_000, reason: HorizonReason.age }, done);
        });
        expect(horizon?.position).toBeGreaterThanOrEqual(moment.cut);
      });
    }
  }

  /** Something that could be deleted: some snapshots, sometimes a volume. */
  #suppose(): string[] {
    return [...this.model.volumes].flatMap(([volume, { snapshots }]) => {
      if (this.#dice.below(4) === 0) return [volume];
      const chosen = [...snapshots.keys()].filter(() => this.#dice.below(2) === 0);
      return chosen.map((name) => `${volume}@${name}`);
    });
  }

  async check(): Promise<void> {
    const deleted = this.#suppose();
    const space = await account(this.pool, { deleted });
    expect(space.segmentBytes).toBe(
      space.heldBytes +
        space.historyBytes +
        space.deadBytes +
        space.headerBytes +
        space.unwrittenBytes,
    );
    const snapshots: Record<string, number> = {};
    for (const volume of this.model.volumes.keys()) {
      const { snapshots: found } = await account(this.pool, { volume });
      for (const { name, uniqueBytes } of found) {
        snapshots[`${volume}@${name}`] = uniqueBytes / blockBytes;
      }
    }
    const shown = {
      held: space.heldBytes / blockBytes,
      history: space.historyBytes / blockBytes,
      dead: space.deadBytes / blockBytes,
      freed: (space.whatIf?.freedBytes ?? 0) / blockBytes,
      volumes: space.volumes.map((each) => ({
        name: each.name,
        mapped: each.mappedBytes / blockBytes,
        present: each.presentBytes / blockBytes,
        snapshots: each.snapshotBytes / blockBytes,
        undo: each.undoBytes / blockBytes,
        unique: each.uniqueBytes / blockBytes,
        shared: each.sharedBytes / blockBytes,
      })),
      snapshots,
    };
    expect(shown).toEqual(this.model.expected(deleted));
  }
}
