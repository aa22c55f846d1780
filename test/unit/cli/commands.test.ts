/** Commands about volumes, snapshots, views and past moments, over the real API on a real socket; only the engine is in memory. */
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { CliCoverage, CliWorld, type Outcome, type Typed } from '../../support/cli-world.ts';
import { containing, matching } from '../../support/matching.ts';
import type { MemoryEngine } from '../../support/memory-engine.ts';

const coverage = new CliCoverage();
let world: CliWorld;
let engine: MemoryEngine;

beforeEach(async () => {
  world = await CliWorld.start(coverage);
  engine = world.engine;
});

afterEach(() => {
  world.end();
});

afterAll(async () => {
  const nouns = ['volume', 'snapshot', 'view'];
  const places = ['volumes', 'views'];
  expect(await coverage.unused(nouns, places)).toEqual([]);
});

async function tidemark(line: string, typed: Typed = {}): Promise<Outcome> {
  return await world.tidemark(line, typed);
}

async function json(line: string): Promise<unknown> {
  return await world.json(line);
}

describe('tidemark volume', () => {
  it('creates, shows, lists, renames, resizes and deletes', async () => {
    expect(await tidemark('volume list')).toMatchObject({
      code: 0,
      out: containing('no volumes'),
    });
    const made = await tidemark('volume create v --size 20G');
    expect(made).toEqual({
      code: 0,
      err: '',
      out: 'volume v made, 20 GiB\n  nbd+unix:///v?socket=/d/run/nbd.sock\n  nbd://127.0.0.1:10809/v\n',
    });
    expect((await tidemark('volume show v')).out).toContain('20 GiB (21474836480 bytes)');
    expect((await tidemark('volume rename v w')).out).toBe('volume v is now w\n');
    expect((await tidemark('volume resize w 30G')).out).toBe(
      'volume w now has 30 GiB (32212254720 bytes)\n',
    );
    expect((await tidemark('volume list')).out).toMatch(
      /^NAME +SIZE +MAPPED +ACK +WINDOW +SNAPSHOTS +CLIENTS +CREATED\nw +30 GiB +8 KiB +durable +unlimited +0 +0 +\d{4}-/,
    );
    expect((await tidemark('volume delete w --yes')).out).toBe('volume w deleted\n');
  });

  it("prints the API's JSON with --json", async () => {
    expect(await json('volume create v --size 8K')).toMatchObject({ name: 'v', sizeBytes: 8192 });
    expect(await json('volume list')).toMatchObject({ volumes: [{ name: 'v' }] });
    expect(await json('volume show v')).toMatchObject({ name: 'v' });
    expect(await json('volume rename v w')).toMatchObject({ name: 'w' });
    expect(await json('volume resize w 12K')).toMatchObject({ sizeBytes: 12_288 });
    expect(await json('volume delete w --force')).toEqual({ deleted: 'w' });
  });

  it('has reservations go by the name of the initiator alone, and back', async () => {
    await tidemark('volume create v --size 8K');
    expect((await tidemark('volume show v')).out).not.toContain('reservations');
    const thick = { provisioning: 'thick' };
    expect((await tidemark('volume set v --provisioning thick')).out).toContain('v: thick: the');
    expect((await tidemark('volume show v')).out).toMatch(/^provisioning +thick: the pool keeps/m);
    expect(await json('volume create fat --size 1M --thick')).toMatchObject(thick);
    expect((await tidemark('volume set v --pr-ignore-isid on')).out).toBe(
      'volume v: persistent reservations tell initiators apart by the name alone\n',
    );
    expect((await tidemark('volume show v')).out).toMatch(
      /^reservations +persistent .* name alone$/m,
    );
    expect(await json('volume set v --pr-ignore-isid off --ack write-back')).toMatchObject({
      prIgnoresIsid: false,
      ack: 'write-back',
    });
    expect(await tidemark('volume set v --pr-ignore-isid maybe')).toMatchObject({ code: 2 });
    expect(await tidemark('volume set v')).toMatchObject({
      code: 2,
      err: containing('nothing to change'),
    });
  });

  it('shrinks only with --force when nobody can be asked', async () => {
    await tidemark('volume create v --size 8K');
    const refused = await tidemark('volume resize v 4K');
    expect(refused).toMatchObject({
      code: 1,
      err: matching(/cuts data\nhint: .*--force/),
    });
    expect(await tidemark('volume resize v 4K --force')).toMatchObject({ code: 0 });
  });

  it('shrinks at a terminal when the name is typed, and only then', async () => {
    await tidemark('volume create v --size 8K');
    expect(await tidemark('volume resize v 4K', { answer: 'yes' })).toMatchObject({
      code: 1,
      err: containing('nothing was done'),
    });
    expect(engine.pool.state.volumes[0]?.sizeBytes).toBe(8192);
    expect(await tidemark('volume resize v 4K', { answer: ' v ' })).toMatchObject({ code: 0 });
    expect(engine.pool.state.volumes[0]?.sizeBytes).toBe(4096);
  });

  it('says what a delete destroys before it asks', async () => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v a');
    const refused = await tidemark('volume delete v', { answer: 'w' });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(
      'deleting volume v (20 GiB) destroys 8 KiB of data and 1 snapshot (a); its past moments go with it, and this cannot be undone\nType v to go on: ',
    );
    expect(engine.pool.state.volumes).toHaveLength(1);
    expect(await tidemark('volume delete v', { answer: 'v' })).toMatchObject({ code: 0 });
    expect(engine.pool.state.volumes).toEqual([]);
  });

  it('deletes a volume without data, snapshots, clients and maps at once, and no other', async () => {
    engine.pool.volumeBytes = 0;
    await tidemark('volume create v --size 20G');
    expect(await tidemark('volume delete v', { answer: 'not asked' })).toMatchObject({
      code: 0,
      err: '',
    });
    engine.pool.volumeBytes = 4096;
    await tidemark('volume create v --size 20G');
    expect(await tidemark('volume delete v')).toMatchObject({
      code: 1,
      err: matching(
        /destroys 4 KiB of data; its past moments go with it, and this cannot be undone\nhint: give --force/,
      ),
    });
  });

  it.each(['--force', '--yes'])('deletes with %s without asking', async (flag) => {
    await tidemark('volume create v --size 20G');
    expect(await tidemark('volume delete v')).toMatchObject({ code: 1 });
    expect(await tidemark(`volume delete v ${flag}`, { answer: 'not asked' })).toMatchObject({
      code: 0,
      err: '',
    });
  });
});

describe('tidemark snapshot', () => {
  it('creates, lists and deletes', async () => {
    await tidemark('volume create v --size 20G');
    expect((await tidemark('snapshot list v')).out).toContain('no snapshots');
    expect((await tidemark('snapshot create v a')).out).toBe('snapshot v@a made at position 1\n');
    expect((await tidemark('snapshot list v')).out).toMatch(
      /^NAME +SIZE +CREATED +CONSISTENCY +EXPORT +LOCKED UNTIL\na +20 GiB .* crash-consistent +v@a +-\n$/,
    );
    expect((await tidemark('snapshot delete v a')).out).toBe('snapshot v@a deleted\n');
  });

  it("prints the API's JSON with --json", async () => {
    await tidemark('volume create v --size 20G');
    expect(await json('snapshot create v a')).toMatchObject({ exportName: 'v@a' });
    expect(await json('snapshot list v')).toMatchObject({ snapshots: [{ name: 'a' }] });
    expect(await json('snapshot delete v a')).toEqual({ deleted: 'v@a' });
  });

  it('is locked, and stays until that ends', async () => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v a');
    const locked = 'snapshot v@a is locked until 2099-01-02 ';
    expect((await tidemark('snapshot set v a --lock-until 2099-01-02T12:00Z')).out).toContain(
      locked,
    );
    expect((await tidemark('snapshot list v')).out).toMatch(/ v@a +2099-01-02 /);
    expect(await json('snapshot list v')).toMatchObject({
      snapshots: [{ lockedUntilMs: Date.UTC(2099, 0, 2, 12) }],
    });
    expect((await tidemark('snapshot set v a --unlock')).out).toBe('snapshot v@a can be deleted\n');
    for (const options of [
      '',
      '--lock-until tomorrow',
      '--lock-until -1h',
      '--unlock --lock-until 2099-01-02T12:00Z',
    ]) {
      expect(await tidemark(`snapshot set v a ${options}`)).toMatchObject({ code: 2 });
    }
  });

  it('that is in use is deleted only with consent', async () => {
    await tidemark('volume create v --size 20G');
    await tidemark('snapshot create v used');
    expect(await tidemark('snapshot delete v used')).toMatchObject({ code: 1 });
    expect(await tidemark('snapshot delete v used', { answer: 'used' })).toMatchObject({ code: 0 });
  });
});

describe('tidemark volume --ack', () => {
  const risk = "a power loss or crash of the appliance's machine can lose writes";

  it('says what write-back risks when it is chosen, and whenever the volume is shown', async () => {
    expect((await tidemark('volume create v --size 1G')).out).not.toContain(risk);
    expect((await tidemark('volume show v')).out).toMatch(/^writes are +durable when answered$/m);
    expect((await tidemark('volume create w --size 1G --ack write-back')).out).toContain(risk);
    expect((await tidemark('volume set v --ack write-back')).out).toContain(risk);
    expect((await tidemark('volume show v')).out).toMatch(new RegExp(`^risk +${risk}`, 'm'));
    expect((await tidemark('volume list')).out).toMatch(/^v .* write-back /m);
    expect((await tidemark('volume set v --ack durable')).out).toBe(
      'volume v answers writes when they are durable\n',
    );
    expect(await json('volume set v --ack write-back')).toMatchObject({ ack: 'write-back' });
  });
});

describe('tidemark view', () => {
  beforeEach(async () => {
    await tidemark('volume create v --size 1G');
    await tidemark('snapshot create v mon');
  });

  it('is created over a snapshot or now, listed, shown and deleted', async () => {
    expect(await tidemark('view list')).toMatchObject({ code: 0, out: containing('no views') });
    expect((await tidemark('view create v --at snapshot:mon --name w')).out).toBe(
      'view w of v at snapshot:mon made, 1 GiB\n  nbd+unix:///w?socket=/d/run/nbd.sock\n  nbd://127.0.0.1:10809/w\n',
    );
    expect(await json('view create w --at now --name x')).toMatchObject({ source: 'w', at: 'now' });
    expect((await tidemark('view list')).out).toMatch(
      /^NAME +VIEW OF +AT +SIZE .*\nw +v +snapshot:mon +1 GiB .*\nx +w +now +1 GiB/,
    );
    expect(await json('view list v')).toMatchObject({ views: [{ name: 'w' }] });
    expect(await tidemark('view list nothing')).toMatchObject({ code: 1 });
    expect((await tidemark('view show w')).out).toMatch(/^name +w\nview of +v\nat +snapshot:mon\n/);
    expect((await tidemark('volume show w')).out).toContain('see tidemark view show w');
    expect((await tidemark('volume list')).out).not.toMatch(/^w /m);
    expect((await tidemark('view delete w')).out).toBe('view w deleted\n');
    expect((await tidemark('view show x')).out).toMatch(/^view of +a deleted volume$/m);
  });

  it('is refreshed, and says how to get back what it held', async () => {
    await tidemark('view create v --at snapshot:mon --name w');
    expect((await tidemark('view refresh w --at now')).out).toBe(
      'view w now shows v at now, 1 GiB\nwhat it held before stays reachable: tidemark volume rollback w --undo\n',
    );
    connect('w');
    expect(await tidemark('view refresh w --at now')).toMatchObject({
      code: 1,
      err: containing('hint: repeat with --disconnect'),
    });
    expect(await json('view refresh w --at snapshot:mon --disconnect')).toMatchObject({
      at: 'snapshot:mon',
    });
  });

  it('is promoted to a volume', async () => {
    await tidemark('view create v --at now --name w');
    expect((await tidemark('view promote w')).out).toContain('w is a volume of its own now');
    expect(await json('volume show w')).toMatchObject({ kind: 'volume' });
    expect(await tidemark('view promote w')).toMatchObject({ code: 1 });
  });

  it('is deleted at a terminal only when its name is typed', async () => {
    await tidemark('view create v --at now --name w');
    await tidemark('snapshot create w own');
    engine.pool.viewBytes = 8192;
    expect(await tidemark('view delete w')).toMatchObject({ code: 1 });
    const asked = await tidemark('view delete w', { answer: 'v' });
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.err).toContain(
      'deleting view w (1 GiB) destroys 8 KiB written to it and 1 snapshot (own); its past moments go with it, and this cannot be undone; its source stays as it is\n',
    );
    expect(await tidemark('view delete w', { answer: 'w' })).toMatchObject({ code: 0 });
  });
});

describe('tidemark volume rollback', () => {
  const wayBack = 'tidemark volume rollback v --undo';

  beforeEach(async () => {
    await tidemark('volume create v --size 1G');
    await tidemark('snapshot create v mon');
  });

  it('asks for the name, and says what changes and how it is undone', async () => {
    const asked = await tidemark('volume rollback v --to snapshot:mon', { answer: 'no' });
    expect(asked).toMatchObject({ code: 1, err: containing('nothing was done') });
    expect(asked.err).toMatch(
      /^Rolling back volume v \(1 GiB\) to snapshot mon, taken .* replaces/,
    );
    expect(asked.err).toContain(`stays reachable: ${wayBack}\nType v to go on: `);
    const done = await tidemark('volume rollback v --to snapshot:mon', { answer: 'v' });
    expect(done.out).toBe(`volume v is at snapshot:mon, 1 GiB; the way back: ${wayBack}\n`);
    expect(await tidemark('volume rollback v --undo', { answer: 'v' })).toMatchObject({
      code: 0,
      err: matching(/^Undoing the rollback of v replaces its content by what it held before 2/),
    });
  });

  it.each(['--force', '--yes'])('needs %s when nobody can be asked', async (flag) => {
    expect(await tidemark('volume rollback v --to snapshot:mon')).toMatchObject({
      code: 1,
      err: matching(/Rolling back volume v .*\n.*\nhint: give --force/),
    });
    expect(await json(`volume rollback v --to snapshot:mon ${flag}`)).toMatchObject({ name: 'v' });
    expect(await json(`volume rollback v --undo ${flag}`)).toMatchObject({ name: 'v' });
  });

  it.each([
    ['--to snapshot:tue', 'v has no snapshot tue'],
    ['--to now', 'v is at now already'],
    ['--undo', 'v was never rolled back'],
  ])('does not ask about what cannot be done: %s', async (options, message) => {
    const { code, err } = await tidemark(`volume rollback v ${options}`, { answer: 'v' });
    expect([code > 0, err]).toEqual([true, matching(new RegExp(`^tidemark: ${message}\nhint: `))]);
  });

  it('is refused while clients are connected, unless they may be dropped', async () => {
    connect('v');
    expect(await tidemark('volume rollback v --to snapshot:mon', { answer: 'v' })).toMatchObject({
      code: 1,
      err: matching(/^tidemark: v is open by 1 client.*\nhint: .*--disconnect/),
    });
    expect(await tidemark('volume rollback v --to snapshot:mon --yes')).toMatchObject({ code: 1 });
    const done = await tidemark('volume rollback v --to snapshot:mon --disconnect', {
      answer: 'v',
    });
    expect(done).toMatchObject({ code: 0, err: containing(' 1 client is disconnected.') });
  });

  it('shows in the history, line by line', async () => {
    await tidemark('volume rollback v --to snapshot:mon --yes');
    for (const name of ['a', 'b', 'c', 'd', 'e']) await tidemark(`snapshot create v ${name}`);
    await tidemark('volume rollback v --undo --yes');
    expect((await tidemark('volume history v')).out).toMatch(
      /^LINE +FROM .*\n +1 .* created empty +mon\n +2 .* rolled back to snapshot:mon +a \.\.\. e \(5\)\n +3 .* present +undo: as it was before +-\nback to the end of line 2: tidemark volume rollback v --undo\n\nkeeps +every moment for ever\nwindow +every moment since .*: nothing is given up until a window is set\n/,
    );
    expect(await json('volume history v')).toMatchObject({
      lines: [{ reason: 'created' }, { reason: 'rollback' }, { reason: 'undo', snapshots: [] }],
    });
    expect((await tidemark('volume clone v w')).out).toMatch(/^volume w made from v, 1 GiB\n/);
    expect((await tidemark('volume history w')).out).toMatch(
      /made from its source as it was then +-\n\n/,
    );
  });
});

/** One client has the volume open. */
function connect(name: string): void {
  const { state } = engine.pool;
  state.volumes = state.volumes.map((each) =>
    each.name === name ? { ...each, connectionCount: 1 } : each,
  );
}

describe('failures', () => {
  it('of the daemon end with 1, its message and its hint', async () => {
    engine.failure = new OperationError('unavailable', 'the engine is starting', 'wait');
    expect(await tidemark('volume list')).toEqual({
      code: 1,
      out: '',
      err: 'tidemark: the engine is starting\nhint: wait\n',
    });
  });

  it("with --json are the API's error on the error output", async () => {
    const { code, out, err } = await tidemark('volume show x --json');
    expect([code, out]).toEqual([1, '']);
    expect(JSON.parse(err)).toEqual({
      error: { code: 'not-found', message: 'there is no volume x' },
    });
  });

  it.each([
    'volume create v',
    'volume create v --size 5x',
    'volume create v --size 5001',
    'volume create a@b --size 5G',
    'volume create v --size 5G more',
    'volume frobnicate',
    'volume',
    'pool resize 0',
    'snapshot create v a@b',
    'volume create w --size 1G --ack fast',
    'volume set v',
    'volume set v --ack slow',
    'volume set v --cdp-window soon',
    'volume create w --size 1G --cdp-policy 1h',
    'volume clone v a@b',
    'volume rollback v',
    'volume rollback v --to snapshot:s --undo',
    'volume rollback v --to monday --yes',
    'view create v --name w',
    'view create v --at now',
    'view create v --at now --name a@b',
    'view create v --at monday --name w',
    'view create v --at snapshot:a@b --name w',
    'view refresh v --at 12:00',
    'tls client a@b',
    '--nonsense',
  ])('of usage end with 2 and a message: %s', async (line) => {
    engine.pool.volumeCreate('v', 4096);
    const { code, out, err } = await tidemark(line);
    expect([code, out]).toEqual([2, '']);
    expect(err).not.toBe('');
    expect(engine.pool.state.volumes).toHaveLength(1);
  });

  it('end with 3 and say how to start it when no daemon answers', async () => {
    world.stopDaemon();
    const { code, err } = await tidemark('pool status');
    expect(code).toBe(3);
    expect(err).toMatch(
      /^tidemark: no tidemark daemon answers at .*\/run\/daemon.sock\nhint: .*npm start/,
    );
  });

  it('help ends with 0', async () => {
    expect(await tidemark('--help')).toMatchObject({
      code: 0,
      out: matching(/20G means 20 GiB[^]*Exit codes/),
    });
  });
});

describe('tidemark on past moments', () => {
  const time = '2026-11-22T14:03:07.250Z';

  it.each(['-15m', time, 'position:4096'])('opens views at %s', async (at) => {
    await tidemark('volume create v --size 1G');
    expect((await tidemark(`view create v --at ${at} --name w`)).out).toMatch(
      `view w of v at ${at} made, 1 GiB\n`,
    );
    expect(await json(`view refresh w --at ${at}`)).toMatchObject({ at });
    expect((await tidemark(`volume rollback v --to ${at} --yes`)).out).toContain(`v is at ${at},`);
    const asked = await tidemark(`volume rollback v --to ${at}`, { answer: 'no' });
    expect(asked.err).toContain(`Rolling back volume v (1 GiB) to ${at}, 2026-`);
  });

  it('opens views of several volumes at one cut', async () => {
    await tidemark('volume create v --size 1G');
    await tidemark('volume create w --size 1G');
    expect((await tidemark('view create v w --at -1h --name-suffix .then')).out).toMatch(
      /^view v\.then of v at -1h made, .*\n(.*\n)*view w\.then of w at -1h made, /,
    );
    expect(await tidemark('view create v w --at now --name x')).toMatchObject({ code: 2 });
    expect(await tidemark('view create v --at now')).toMatchObject({ code: 2 });
  });

  it('names one as a snapshot and lists when it is of', async () => {
    await tidemark('volume create v --size 1G');
    expect((await tidemark(`snapshot create v s --at ${time}`)).out).toBe(
      `snapshot v@s made at position 1: the volume as it was at ${time}, crash-consistent\n`,
    );
    expect((await tidemark('snapshot list v')).out).toMatch(/ named 2026-/);
    expect((await tidemark('volume history v')).out).toContain(`of ${time}, named 2026-`);
  });

  it('says what it takes for a moment', async () => {
    const refused = await tidemark('view create v --at monday --name w');
    expect(refused).toMatchObject({ code: 2, err: containing('"monday" names no moment') });
    expect(refused.err).toContain('write snapshot:monday for the snapshot, or snapshot:NAME, now,');
  });

  it('searches for the change that broke it', async () => {
    await tidemark('volume create v --size 1G');
    const codes = [0, 1];
    const run = async (): Promise<{ code: number | undefined; signal: undefined }> =>
      await Promise.resolve({ code: codes.shift(), signal: undefined });
    const commands = { run, onInterrupt: (): void => undefined };
    const line = 'bisect v --good position:1 --bad now --run true';
    expect((await tidemark(line, { commands })).out).toMatch(/^last good moment: position:1, /);
  });

  it('lists what differs, and all pages as JSON', async () => {
    await tidemark('volume create v --size 1G');
    expect((await tidemark(`diff v --from ${time} --to now`)).out).toMatch(
      /^12 KiB in 3 extents differ between 2026-11-22T14:03:07\.250Z and now\nOFFSET +LENGTH\n +4096 +4096\n/,
    );
    expect(await json('diff v --from position:1 --to now')).toMatchObject({
      from: { at: 'position:1' },
      extents: [{ offset: 4096, length: 4096 }, { offset: 16_384 }, { offset: 65_536 }],
    });
  });
});
