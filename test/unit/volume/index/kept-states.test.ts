/** Every state that is kept refers to the same blocks as when it was made, whatever was thinned, packed and forgotten since. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { IoKind, IoStatus } from '../../../../src/device/block-device.ts';
import { HorizonReason } from '../../../../src/volume/catalogue/retention-records.ts';
import { cleanerLimits } from '../../../../src/volume/cleaner/limits.ts';
import { segIdOf } from '../../../../src/volume/format/address.ts';
import type { Diff, OpenPair } from '../../../../src/volume/history.ts';
import type { LiveSet } from '../../../../src/volume/liveness/live-set.ts';
import type { Pool } from '../../../../src/volume/pool.ts';
import { isKept } from '../../../../src/volume/retention/kept.ts';
import { Dice, limitsOfTests } from '../liveness/random-history.ts';
import {
  ask,
  blockBytes,
  clone,
  close,
  create,
  submit,
  worldOfTests,
  write,
} from '../pool-world.ts';

const { thinWhen, thinRunsPerMark } = cleanerLimits;
const eager = { keptShareMax: 0.999, entriesMin: 1 };
const world = worldOfTests({ cleaner: 'off', retentionStepMs: 1 });
const limits = limitsOfTests();
/** The greatest has two groups of 8 leaves, and a part of a third. */
const sizes = [40, 600, 9000];
/** Histories of more states than can be looked at: some of them are. */
const looksPerVolume = 40;

afterEach(() => {
  Object.assign(cleanerLimits, { thinWhen, thinRunsPerMark });
});

/** What a volume referred to from the position before `cut` on. */
interface State {
  readonly cut: number;
  readonly blockCount: number;
  /** First block, how many, value: of runs that are no holes. */
  readonly runs: readonly (readonly number[])[];
}

/** Of each block. */
function valuesOf({ blockCount, runs }: State): Float64Array {
  const values = new Float64Array(blockCount);
  for (const [at = 0, count = 0, value = 0] of runs) {
    for (let index = 0; index < count; index += 1) {
      values[at + index] = value > 0 ? value + index : value;
    }
  }
  return values;
}

class KeptStates {
  readonly #dice: Dice;
  readonly #statesByName = new Map<string, State[]>();
  #names = 0;
  pool: Pool;
  looked = 0;

  constructor(pool: Pool, seed: number) {
    this.pool = pool;
    this.#dice = new Dice(seed);
  }

  #newName(): string {
    this.#names += 1;
    return `n${this.#names}`;
  }

  async #open(volume: string, cut: number | undefined): Promise<OpenPair> {
    const at = cut === undefined ? 'now' : `position:${cut}`;
    return await ask((done) => {
      this.pool.history.openPair({ volume, from: at, to: at }, done);
    });
  }

  async #stateAt(volume: string, cut: number | undefined): Promise<State> {
    const pair = await this.#open(volume, cut);
    const { moment } = pair.to;
    const blockCount = moment.sizeBytes / blockBytes;
    const runs: number[][] = [];
    let at = 0;
    pair.toMap.visit(0, blockCount, (count, value) => {
      if (value !== 0) runs.push([at, count, value]);
      at += count;
      return true;
    });
    pair.close();
    return { cut: moment.cut, blockCount, runs };
  }

  /** Notes what all volumes refer to now. */
  async #note(): Promise<void> {
    for (const { name } of this.pool.volumes()) {
      const states = this.#statesByName.get(name) ?? [];
      states.push(await this.#stateAt(name, undefined));
      this.#statesByName.set(name, states);
    }
  }

  /** States that were noted, those that are kept. */
  #kept(name: string): State[] {
    const volume = this.pool.volume(name);
    return (this.#statesByName.get(name) ?? []).filter(({ cut }) => isKept(volume, cut));
  }

  /** Steps, and what they lead to is noted. */
  async go(steps: number): Promise<void> {
    for (let step = 0; step < steps; step += 1) {
      await this.#step();
      await this.#note();
    }
  }

  async #step(): Promise<void> {
    const volumes = this.pool.volumes().map(({ name }) => name);
    if (volumes.length === 0) {
      await create(this.pool, this.#newName(), this.#dice.of(sizes));
      return;
    }
    const name = this.#dice.of(volumes);
    const chosen = this.#dice.below(100);
    if (chosen < 45) await this.#write(name);
    else if (chosen < 60) await this.#clear(name);
    else if (chosen < 68) await this.#share(name, this.#dice.of(volumes));
    else if (chosen < 76) await this.#snapshot(name);
    else if (chosen < 81) await this.#deleteSnapshot(name);
    else if (chosen < 85) await this.#resize(name);
    else if (chosen < 93) await this.#forget(name);
    else if (chosen < 96) await this.#revert(name);
    else if (chosen < 98 && volumes.length < 4) await this.#fork(name);
    else if (volumes.length < 3) await create(this.pool, this.#newName(), this.#dice.of(sizes));
    else await this.#delete(name);
  }

  #blocks(name: string): number {
    return this.pool.volume(name).sizeBytes / blockBytes;
  }

  /** Mostly in few places, so that most is overwritten. */
  async #write(name: string): Promise<void> {
    const blocks = this.#blocks(name);
    for (let left = this.#dice.below(6); left >= 0; left -= 1) {
      const block = this.#dice.below(4) === 0 ? this.#dice.below(blocks) : this.#dice.below(30);
      const count = 1 + this.#dice.below(Math.min(12, blocks - block));
      const bytes = new Uint8Array(count * blockBytes).fill(1 + this.#dice.below(255));
      const device = this.pool.volumeOpen(name);
      expect(await write(this.pool, device, block * blockBytes, bytes)).toBe(IoStatus.ok);
    }
  }

  async #clear(name: string): Promise<void> {
    const blocks = this.#blocks(name);
    const isWide = this.#dice.below(3) === 0;
    const block = isWide ? 0 : this.#dice.below(Math.min(40, blocks));
    const count = isWide ? blocks : 1 + this.#dice.below(blocks - block);
    const range = { offset: block * blockBytes, length: count * blockBytes };
    const kind = this.#dice.of([IoKind.trim, IoKind.zero]);
    const noHole = kind === IoKind.zero && this.#dice.below(2) === 0;
    const device = this.pool.volumeOpen(name);
    expect((await submit(device, { kind, noHole, ...range })).status).toBe(IoStatus.ok);
  }

  async #share(name: string, other: string): Promise<void> {
    const from = this.#dice.below(30);
    const to = this.#dice.below(30);
    const count = 1 + this.#dice.below(8);
    if (other === name && Math.abs(from - to) < count) return;
    if (Math.max(from, to) + count > Math.min(this.#blocks(name), this.#blocks(other))) return;
    const status = await clone(this.pool.volumeOpen(name), {
      source: this.pool.volumeOpen(other),
      sourceOffset: from * blockBytes,
      offset: to * blockBytes,
      length: count * blockBytes,
    });
    expect(status).toBe(IoStatus.ok);
  }

  /** A moment that is kept: of the past, or now. */
  #moment(name: string): string {
    const kept = this.#kept(name);
    if (kept.length === 0 || this.#dice.below(3) === 0) return 'now';
    return `position:${this.#dice.of(kept).cut}`;
  }

  async #snapshot(name: string): Promise<void> {
    const target = { volume: name, name: this.#newName() };
    const at = this.#moment(name);
    await ask((done) => {
      this.pool.snapshotCreate([target], done, at);
    });
  }

  async #deleteSnapshot(volume: string): Promise<void> {
    const names = [...this.pool.volume(volume).snapshotByName.keys()];
    if (names.length === 0) return;
    const name = this.#dice.of(names);
    await ask((done) => {
      this.pool.snapshotDelete({ volume, name }, done);
    });
  }

  async #resize(name: string): Promise<void> {
    const sizeBytes = this.#dice.of(sizes) * blockBytes;
    await ask((done) => {
      this.pool.volumeResize({ name, sizeBytes, force: true }, done);
    });
  }

  async #forget(volume: string): Promise<void> {
    const keepMs = this.#dice.of([-60_000, 1, 5, 20, 100]);
    await ask((done) => {
      this.pool.retention.advanceHorizon({ volume, keepMs, reason: HorizonReason.age }, done);
    });
  }

  async #revert(name: string): Promise<void> {
    const to = this.#moment(name);
    if (to === 'now') return;
    await ask((done) => {
      this.pool.volumeRollback({ name, to }, done);
    });
  }

  async #fork(source: string): Promise<void> {
    const at = this.#moment(source);
    const isClone = this.#dice.below(2) === 0;
    await ask((done) => {
      this.pool.viewCreate({ source, name: this.#newName(), at, isClone }, done);
    });
  }

  async #delete(name: string): Promise<void> {
    await ask((done) => {
      this.pool.volumeDelete({ name, force: true }, done);
    });
    this.#statesByName.delete(name);
  }

  /** Compares states that are kept; no block of them may be dead in a set that was made before. */
  async check(sets: readonly LiveSet[]): Promise<void> {
    for (const { name } of this.pool.volumes()) {
      const kept = this.#kept(name);
      const every = Math.max(1, Math.floor(kept.length / looksPerVolume));
      for (const [index, state] of kept.entries()) {
        if (index % every !== 0 && index !== kept.length - 1) continue;
        await this.#look(name, state, sets);
        await this.#compare(name, state, this.#dice.of(kept));
      }
    }
  }

  /** What differs between two states is told from the index, too: never less than what does. */
  async #compare(volume: string, from: State, to: State): Promise<void> {
    const { extents } = await ask<Diff>((done) => {
      const range = { offset: 0, extentsMax: 10_000 };
      const moments = { from: `position:${from.cut}`, to: `position:${to.cut}` };
      this.pool.history.diff({ volume, ...moments, ...range }, done);
    });
    const before = valuesOf(from);
    const after = valuesOf(to);
    const isTold = new Uint8Array(to.blockCount);
    for (const { offset, length } of extents) {
      isTold.fill(1, offset / blockBytes, (offset + length) / blockBytes);
    }
    const missed = after.findIndex((value, block) => {
      return value !== (before[block] ?? 0) && isTold[block] !== 1;
    });
    expect(missed, `block of ${volume} between ${from.cut} and ${to.cut}`).toBe(-1);
  }

  async #look(name: string, state: State, sets: readonly LiveSet[]): Promise<void> {
    this.looked += 1;
    expect({ name, ...(await this.#stateAt(name, state.cut)) }).toEqual({ name, ...state });
    for (const live of sets) {
      for (const [, count = 0, value = 0] of state.runs) {
        if (value < 0) continue;
        for (let address = value; address < value + count; address += 1) {
          const isDead = live.isJudged(segIdOf(address)) && !live.isLive(address);
          expect(isDead, `address ${address} of ${name} at ${state.cut}`).toBe(false);
        }
      }
    }
  }
}

async function clean(pool: Pool): Promise<void> {
  await ask((done) => {
    pool.cleaner.run(() => undefined, done);
  });
}

function isThinnedName(name: string): boolean {
  return name.split('.').length === 3 && name.endsWith('.run');
}

it.each([1, 2, 3])(
  'states that are kept stay as they were (seed %i)',
  async (seed) => {
    const dice = new Dice(seed * 7919);
    Object.assign(cleanerLimits, {
      thinWhen: { none: eager, soft: eager, hard: eager },
      thinRunsPerMark: dice.of([1, 3, 16]),
    });
    const markEntriesPerStep = dice.of([3, 100, 10_000]);
    Object.assign(limits, { markEntriesPerStep, sieveEntriesMin: dice.of([4, 1024]) });
    const model = new KeptStates((await world.open()).pool, seed * 104_729);
    const sets: LiveSet[] = [];
    let thinned = 0;
    for (let round = 0; round < 6; round += 1) {
      await model.go(20);
      for (let pass = dice.below(3); pass >= 0; pass -= 1) await clean(model.pool);
      // Judged now, believed later.
      sets.push(
        await ask<LiveSet>((done) => {
          model.pool.mark.run(done);
        }),
      );
      await model.check(sets);
      // What goes on beside a pass, and a process that ends in one.
      const passing = clean(model.pool);
      await model.go(dice.below(5));
      if (dice.below(3) > 0) {
        await passing;
        await close(model.pool);
      }
      model.pool = (await world.open()).pool;
      await model.check(sets);
      thinned += readdirSync(path.join(world.folder, 'runs')).filter(isThinnedName).length;
      const faults = await new Promise((resolve) => {
        model.pool.verify(
          () => undefined,
          (report) => {
            resolve(report.faults);
          },
        );
      });
      expect(faults).toEqual([]);
    }
    expect(thinned).toBeGreaterThan(0);
    expect(model.looked).toBeGreaterThan(100);
  },
  120_000,
);
