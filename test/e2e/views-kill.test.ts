/**
 * kill -9 of the engine in the middle of every operation on views, lines and acknowledgement: afterwards it happened
 * wholly or not at all, it happened if it was answered, and no other volume shows anything but its own content.
 *
 *     request ──▶ daemon ──▶ engine          (a moment of a few ms is drawn by the seed)
 *                     kill -9 ──┘   restart, look
 *
 * The seed is printed; VIEWS_KILL_SEED and VIEWS_KILL_ROUNDS in the environment replay or lengthen a run.
 */
import crypto from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Operation as PoolOperation } from '../../src/contract/operation.ts';
import type { View } from '../../src/contract/view.ts';
import type { Volume, VolumeHistory } from '../../src/contract/volume.ts';
import { ApiError, Appliance } from '../support/appliance.ts';
import { hasPattern, type Stretch, writePattern } from '../support/disk-pattern.ts';
import { describeWith } from '../support/interop.ts';
import { sleep, until } from '../support/run.ts';

const rounds = Number(process.env['VIEWS_KILL_ROUNDS'] ?? 3);
const seed = Number(process.env['VIEWS_KILL_SEED'] ?? crypto.randomInt(1 << 30));
/** An operation takes a few ms from the request to the answer; later kills would only find it done. */
const killWithinMs = 10;

/** What is on the volume when its snapshot is taken, what is on it now, and what was written to its view. */
const then: readonly Stretch[] = [{ byte: 1, offset: '0', length: '1M' }];
const now: readonly Stretch[] = [{ byte: 2, offset: '0', length: '512k' }, ...tail(1)];
const inView: readonly Stretch[] = [{ byte: 1, offset: '0', length: '512k' }, ...tail(3)];

function tail(byte: number): readonly Stretch[] {
  return [{ byte, offset: '512k', length: '512k' }];
}

/** The volume and the view of one round. */
interface Names {
  readonly volume: string;
  readonly view: string;
  /** A name that is free before the operation. */
  readonly made: string;
}

interface Operation {
  readonly title: string;
  /** Path and body of the request; DELETE when there is no body. */
  readonly request: (names: Names) => { readonly url: string; readonly body?: object };
  /** Brings the volume to where the operation begins, beyond what every round has. */
  readonly prepare?: (world: World, names: Names) => Promise<void>;
  /** Whether it happened. */
  readonly happened: (world: World, names: Names) => Promise<boolean>;
  /** Content of the exports when it did not happen, and what differs when it did; undefined = the export is not there. */
  readonly before?: Contents;
  readonly after: Contents;
}

type Contents = { readonly [name in keyof Names]?: readonly Stretch[] | undefined };

class World {
  readonly appliance: Appliance;

  constructor(appliance: Appliance) {
    this.appliance = appliance;
  }

  async post(url: string, body: object = {}): Promise<unknown> {
    return await this.appliance.api('POST', url, body);
  }

  async volume(name: string): Promise<Volume | undefined> {
    return (await this.#get(`/v1/volumes/${name}`)) as Volume | undefined;
  }

  async view(name: string): Promise<View> {
    return (await this.#get(`/v1/views/${name}`)) as View;
  }

  async lineCount(name: string): Promise<number> {
    const history = (await this.#get(`/v1/volumes/${name}/history`)) as VolumeHistory;
    return history.lines.length;
  }

  /** Result of a long operation of the pool. */
  async poolOperation(kind: 'verify' | 'rebuild'): Promise<unknown> {
    const started = (await this.post(`/v1/pool/${kind}`)) as PoolOperation;
    let operation = started;
    await until(`${kind} has ended`, 60_000, async () => {
      operation = (await this.#get(`/v1/operations/${started.id}`)) as PoolOperation;
      return operation.state !== 'running';
    });
    return operation.result;
  }

  /** Undefined when there is no such thing. */
  async #get(url: string): Promise<unknown> {
    try {
      return await this.appliance.api('GET', url);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }
}

const exists =
  (which: keyof Names) =>
  async (world: World, names: Names): Promise<boolean> =>
    (await world.volume(names[which])) !== undefined;

const operations: readonly Operation[] = [
  {
    title: 'view create',
    request: ({ volume, made }) => ({
      url: '/v1/views',
      body: { source: volume, name: made, at: 'snapshot:mon' },
    }),
    happened: exists('made'),
    after: { made: then },
  },
  {
    title: 'view create of a view',
    request: ({ view, made }) => ({
      url: '/v1/views',
      body: { source: view, name: made, at: 'now' },
    }),
    happened: exists('made'),
    after: { made: inView },
  },
  {
    title: 'volume clone',
    request: ({ volume, made }) => ({ url: `/v1/volumes/${volume}/clone`, body: { name: made } }),
    happened: async (world, { made }) => {
      const clone = await world.volume(made);
      // It is a view until it is promoted: both are one operation.
      expect(clone?.kind).not.toBe('view');
      return clone !== undefined;
    },
    after: { made: now },
  },
  {
    title: 'view refresh',
    request: ({ view }) => ({ url: `/v1/views/${view}/refresh`, body: { at: 'now' } }),
    happened: async (world, { view }) => (await world.view(view)).at === 'now',
    after: { view: now },
  },
  {
    title: 'view promote',
    request: ({ view }) => ({ url: `/v1/views/${view}/promote`, body: {} }),
    happened: async (world, { view }) => (await world.volume(view))?.kind === 'volume',
    after: {},
  },
  {
    title: 'view delete',
    request: ({ view }) => ({ url: `/v1/views/${view}?force=true` }),
    happened: async (world, { view }) => (await world.volume(view)) === undefined,
    after: { view: undefined },
  },
  {
    title: 'volume rollback',
    request: ({ volume }) => ({
      url: `/v1/volumes/${volume}/rollback`,
      body: { to: 'snapshot:mon' },
    }),
    happened: async (world, { volume }) => (await world.lineCount(volume)) === 2,
    after: { volume: then },
  },
  {
    title: 'volume rollback --undo',
    prepare: async (world, { volume }) => {
      await world.post(`/v1/volumes/${volume}/rollback`, { to: 'snapshot:mon' });
    },
    request: ({ volume }) => ({ url: `/v1/volumes/${volume}/rollback/undo`, body: {} }),
    happened: async (world, { volume }) => (await world.lineCount(volume)) === 3,
    before: { volume: then },
    after: { volume: now },
  },
  {
    title: 'volume set --ack',
    request: ({ volume }) => ({ url: `/v1/volumes/${volume}/set`, body: { ack: 'write-back' } }),
    happened: async (world, { volume }) => (await world.volume(volume))?.ack === 'write-back',
    after: {},
  },
  {
    title: 'deleting the source of a view',
    request: ({ volume }) => ({ url: `/v1/volumes/${volume}?force=true` }),
    happened: async (world, { volume }) => (await world.volume(volume)) === undefined,
    after: { volume: undefined },
  },
];

/** A repeatable sequence of numbers below 1, so that a seed replays the moments of the kills. */
function randomSequence(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describeWith(['qemu-utils'], 'kill -9 during', () => {
  const random = randomSequence(seed);
  let world: World;

  beforeAll(async () => {
    console.log(`VIEWS_KILL_SEED=${seed}`);
    world = new World(await Appliance.start());
  });

  afterAll(async () => {
    await world.appliance.remove();
  });

  async function makeNames(operation: Operation, round: number): Promise<Names> {
    const id = `${operations.indexOf(operation)}.${round}`;
    const names = { volume: `vol${id}`, view: `view${id}`, made: `made${id}` };
    const { appliance } = world;
    await appliance.volumeCreate(names.volume, 1 << 20);
    await writePattern(appliance.uri(names.volume), then);
    await appliance.snapshotCreate(names.volume, 'mon');
    await writePattern(appliance.uri(names.volume), now);
    const at = 'snapshot:mon';
    await world.post('/v1/views', { source: names.volume, name: names.view, at });
    await writePattern(appliance.uri(names.view), tail(3));
    await operation.prepare?.(world, names);
    await world.appliance.idle(names.volume);
    await world.appliance.idle(names.view);
    return names;
  }

  /** Starts the operation, kills the engine at a moment of its course and starts all again; returns whether it was answered. */
  async function killDuring(operation: Operation, names: Names): Promise<boolean> {
    const { appliance } = world;
    const pid = await appliance.enginePid();
    const { url, body } = operation.request(names);
    const answered = appliance.api(body === undefined ? 'DELETE' : 'POST', url, body).then(
      () => true,
      (error: unknown) => {
        // Only "the engine is gone" may come of it.
        if (error instanceof ApiError && error.status === 503) return false;
        throw error;
      },
    );
    await sleep(random() * killWithinMs);
    await appliance.killEngine(pid);
    const wasAnswered = await answered;
    // The daemon, too: so that no back-off is waited for.
    await appliance.killDaemon();
    await appliance.restart();
    return wasAnswered;
  }

  async function checkContents(names: Names, contents: Contents): Promise<void> {
    for (const which of ['volume', 'view', 'made'] as const) {
      const stretches = contents[which];
      const uri = world.appliance.uri(names[which]);
      if (stretches === undefined) expect(await world.volume(names[which])).toBeUndefined();
      else expect(`${which}: ${await hasPattern(uri, stretches)}`).toBe(`${which}: true`);
    }
  }

  it.each(operations)('$title leaves it done or not begun', async (operation) => {
    const seen = { answered: 0, done: 0, 'not begun': 0 };
    for (let round = 0; round < rounds; round += 1) {
      const names = await makeNames(operation, round);
      const wasAnswered = await killDuring(operation, names);
      const happened = await operation.happened(world, names);
      if (wasAnswered) expect(happened).toBe(true);
      const before = { volume: now, view: inView, made: undefined, ...operation.before };
      await checkContents(names, happened ? { ...before, ...operation.after } : before);
      seen[happened ? 'done' : 'not begun'] += 1;
      if (wasAnswered) seen.answered += 1;
    }
    console.log(`${operation.title}: ${JSON.stringify(seen)}`);
    expect(await world.poolOperation('verify')).toMatchObject({ faultCount: 0 });
    expect(await world.poolOperation('rebuild')).toMatchObject({ wasEqual: true });
  });
});
