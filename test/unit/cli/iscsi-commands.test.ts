/** Hosts, LUNs, sessions and portals on the command line, over the real API; only the engine is in memory. */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliCoverage, CliWorld, commandsOf } from '../../support/cli-world.ts';
import { oneSession } from '../../support/iscsi-session.ts';
import { containing, matching } from '../../support/matching.ts';

const coverage = new CliCoverage();
let world: CliWorld;

const esx = 'iqn.1998-01.com.vmware:esx1';
const secret = 'correct-horse-battery';

beforeEach(async () => {
  world = await CliWorld.start(coverage);
});

afterEach(() => {
  world.end();
});

afterAll(async () => {
  const nouns = ['host', 'lun', 'session', 'portal'];
  expect(await coverage.unused(nouns, ['hosts', 'luns', 'sessions', 'portals'])).toEqual([]);
  // What this file and `commands.test.ts` look at is all that there is.
  const others = ['pool', 'volume', 'snapshot', 'view', 'space', 'diff', 'bisect', 'tls'];
  expect((await commandsOf('')).sort()).toEqual([...nouns, ...others].sort());
});

async function withHost(): Promise<void> {
  await world.json('volume create db --size 5G');
  await world.json(`host create esx1 --initiator ${esx}`);
}

function logIn(host: string, luns: number[]): void {
  world.engine.pool.sessions.push(oneSession({ host, luns }));
}

describe('tidemark host', () => {
  it('is created, listed, shown, changed and deleted', async () => {
    const made = await world.tidemark(`host create esx1 --initiator IQN.1998-01.com.vmware:ESX1`);
    expect(made.out).toBe(
      `host esx1 made: ${esx}, CHAP off\n` +
        'without CHAP whoever claims such a name and reaches the portal may log in; see --chap-user\n' +
        'it sees nothing yet: tidemark lun map VOLUME esx1\n',
    );
    expect((await world.tidemark('host list')).out).toMatch(
      /^NAME +INITIATORS +CHAP +LUNS +SESSIONS +CREATED\nesx1 +iqn\.1998-01\.com\.vmware:esx1 +off +0 +0 /,
    );
    expect((await world.tidemark('host show esx1')).out).toMatch(
      new RegExp(`^name +esx1\ninitiator +${esx}\nfrom +anywhere\n`),
    );
    const set = `host set esx1 --name esx --add-initiator eui.02004567a425678d --loopback-only`;
    expect(await world.json(set)).toMatchObject({
      name: 'esx',
      initiators: ['eui.02004567a425678d', esx],
      isLoopbackOnly: true,
    });
    expect(await world.json(`host set esx --remove-initiator ${esx}`)).toMatchObject({
      initiators: ['eui.02004567a425678d'],
    });
    expect(await world.tidemark('host delete esx')).toMatchObject({
      code: 0,
      out: 'host esx deleted\n',
    });
  });

  it('that takes any initiator is the only one, and says how to change that', async () => {
    expect((await world.tidemark('host list')).out).toMatch(/^loopback +any initiator, from this/m);
    expect(await world.tidemark('host create all --any-initiator')).toMatchObject({
      code: 1,
      err: matching(/host loopback takes any initiator already.*\nhint: .*--no-any-initiator/),
    });
    await world.json('host delete loopback --force');
    const made = await world.tidemark('host create all --any-initiator');
    expect(made.out).toContain('without CHAP whoever reaches the portal may log in');
  });

  it.each([
    ['host create x', /host x has no initiator\nhint: .*--initiator/],
    ['host create x --initiator esx1', /"esx1" is not the name of an initiator\nhint: .*iqn\./],
    ['host create x --initiator iqn.2026-13.a', /is not the name/],
    ['host create x --initiator naa.123', /is not the name/],
    ['host create a@b --any-initiator', /1 to 128 letters/],
    ['host set loopback', /nothing to change\nhint: /],
    ['host set loopback --chap-secret-file x', /--chap-secret-file needs --chap-user/],
    ['host set loopback --chap-user u', /--chap-user needs a secret\nhint: .*--chap-secret-file/],
    ['host set loopback --chap-user u --chap-secret-file /no/file', /there is no file/],
    ['host set loopback --chap-user u --no-chap', /contradict/],
    ['host set loopback --target array', /"array" is not the name of a target\nhint: .*iqn\./],
    ['host set loopback --target iqn.2026-01.x:y --no-own-target', /contradict/],
    ['lun map lun0 loopback --lun 16384', /no LUN number/],
    ['lun map lun0 loopback --lun x', /no LUN number/],
    ['session drop', /give either the id/],
    ['session drop x', /no id of a session/],
    ['session drop 1 --host h', /give either the id/],
    ['portal add', /missing/],
    ['portal add :1', /is no address/],
    ['portal add here', /not an IP address/],
    [
      'portal add ::1:3261',
      /is an address as it stands.*\nhint: write \[::1\]:3261 or \[::1:3261\]/,
    ],
    ['portal add ::1:x', /is no address/],
    ['portal add 127.0.0.2 --group x', /tag/],
    ['portal add 127.0.0.2:70000', /port/],
  ])('refuses %s', async (line, message) => {
    const { code, out, err } = await world.tidemark(line);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(message);
  });

  it('with LUNs is deleted only with consent, which names them', async () => {
    await withHost();
    await world.json('lun map db esx1');
    logIn('esx1', [0]);
    const lost = 'deleting host esx1 takes LUN 0 (db) away from its initiators, and ends 1 session';
    expect(await world.tidemark('host delete esx1')).toMatchObject({
      code: 1,
      err: containing(lost),
    });
    const asked = await world.tidemark('host delete esx1', { answer: 'esx1' });
    expect(asked).toMatchObject({ code: 0, err: containing(lost) });
    expect(await world.tidemark('host show esx1')).toMatchObject({
      code: 1,
      err: matching(/there is no host esx1\nhint: /),
    });
  });

  it('loses an initiator that is logged in only with consent', async () => {
    await withHost();
    logIn('esx1', []);
    const line = `host set esx1 --remove-initiator ${esx} --add-initiator iqn.2026-01.x:y`;
    expect(await world.tidemark(line)).toMatchObject({
      code: 1,
      err: containing(`1 session would be ended: ${esx} (session 1 from 10.0.0.7:40000)`),
    });
    expect(await world.tidemark(`${line} --force`)).toMatchObject({ code: 0 });
  });
});

describe("a target of a host's own", () => {
  const pool = 'iqn.2026-11.org.tidemark:main-00000000';

  it('is made with the host or later, shown, and given up', async () => {
    const made = await world.tidemark(`host create esx1 --initiator ${esx} --own-target`);
    expect(made.out).toContain(`it logs in to ${pool}:esx1, and nobody else does\n`);
    expect((await world.tidemark('host show esx1')).out).toContain(`${pool}:esx1, its own\n`);
    const named = 'iqn.2026-01.com.example:array';
    expect(await world.json(`host set esx1 --target ${named}`)).toMatchObject({
      targetName: named,
      hasOwnTarget: true,
    });
    expect((await world.tidemark('host set esx1 --no-own-target')).out).toMatch(
      new RegExp(`^target +${pool}$`, 'm'),
    );
  });

  it('ends sessions only after consent that names them', async () => {
    await withHost();
    logIn('esx1', []);
    const line = 'host set esx1 --own-target';
    const lost = `1 session would be ended: ${esx} (session 1 from 10.0.0.7:40000)`;
    const refused = await world.tidemark(line);
    expect(refused).toMatchObject({ code: 1, err: containing(lost) });
    const asked = await world.tidemark(line, { answer: 'esx1' });
    expect(asked).toMatchObject({ code: 0, err: containing(lost) });
  });
});

describe('CHAP secrets', () => {
  it('come from a file, whose line end is not part of them', async () => {
    await withHost();
    const file = path.join(world.folder, 'secret');
    fs.writeFileSync(file, `${secret}\r\n`, { mode: 0o600 });
    const set = `host set esx1 --chap-user esx --chap-secret-file ${file}`;
    expect(await world.json(set)).toMatchObject({ chapUserIn: 'esx' });
    expect(world.engine.pool.iscsi?.hosts[0]?.chapIn).toEqual({
      user: 'esx',
      secret: Buffer.from(secret).toString('hex'),
    });
    fs.chmodSync(file, 0o644);
    expect(await world.tidemark(set)).toMatchObject({
      code: 2,
      err: matching(/others than its owner .*\nhint: chmod 600/),
    });
  });

  it('come from the standard input, and from a prompt that shows nothing', async () => {
    await withHost();
    const line = 'host set esx1 --chap-user u --chap-secret-file -';
    expect(await world.tidemark(line, { input: `${secret}\n` })).toMatchObject({ code: 0 });
    const asked = 'host set esx1 --chap-out-user target';
    const secrets = ['the-other-secret', 'the-other-secret'];
    const done = await world.tidemark(asked, { answer: '', secrets });
    expect(done).toMatchObject({ code: 0, out: matching(/^CHAP +as u, mutual$/m) });
    expect(world.plane.catalog.hostSecrets('esx1').out?.secret).toEqual(
      new TextEncoder().encode('the-other-secret'),
    );
    const mistyped = ['the-other-secret', 'the-other-sceret'];
    expect(await world.tidemark(asked, { answer: '', secrets: mistyped })).toMatchObject({
      code: 2,
      err: containing('not the same'),
    });
  });

  it('are refused when they are weak, alike, or without the other side', async () => {
    await withHost();
    const inSecret = 'host set esx1 --chap-user u --chap-secret-file -';
    const outSecret = 'host set esx1 --chap-out-user t --chap-out-secret-file -';
    const refusals = [
      [inSecret, 'elevenbytes', /too weak: it has 11 bytes/],
      [inSecret, 'x'.repeat(256), /255 is the most/],
      [inSecret, 'with a tab\tinside', /control characters/],
      [outSecret, secret, /proves itself only to/],
    ] as const;
    for (const [line, input, message] of refusals) {
      expect(await world.tidemark(line, { input })).toMatchObject({
        code: 2,
        err: matching(message),
      });
    }
    expect(await world.tidemark(inSecret, { input: 'twelve-bytes' })).toMatchObject({ code: 0 });
    expect(await world.tidemark(outSecret, { input: 'twelve-bytes' })).toMatchObject({
      code: 2,
      err: containing('are the same'),
    });
  });

  it('are taken away again', async () => {
    await withHost();
    await world.tidemark('host set esx1 --chap-user u --chap-secret-file -', { input: secret });
    const out = 'host set esx1 --chap-out-user t --chap-out-secret-file -';
    await world.tidemark(out, { input: 'the-other-secret' });
    expect(await world.json('host set esx1 --no-chap-out')).not.toHaveProperty('chapUserOut');
    expect(await world.json('host show esx1')).toMatchObject({ chapUserIn: 'u' });
    expect(await world.json('host set esx1 --no-chap')).not.toHaveProperty('chapUserIn');
    expect(world.engine.pool.iscsi?.hosts[0]).not.toHaveProperty('chapIn');
  });

  it('are in no answer and no log', async () => {
    const line = `host create h --initiator ${esx} --chap-user u --chap-secret-file -`;
    const { out, err } = await world.tidemark(`${line} --json`, { input: secret });
    const shown = await world.tidemark('host show h --json');
    const weak = await world.tidemark(line, { input: 'guess-me' });
    const text = [out, err, shown.out, weak.err, ...world.lines, ...world.plane.lines].join('\n');
    expect(text).toContain('POST /v1/hosts');
    for (const word of [secret, Buffer.from(secret).toString('hex'), 'guess-me']) {
      expect(text).not.toContain(word);
    }
  });
});

describe('tidemark lun', () => {
  it('maps, lists and unmaps; the volume says who sees it and where', async () => {
    await withHost();
    const target = world.plane.iscsi.listening.targetName;
    expect((await world.tidemark('lun list')).out).toContain('no LUNs');
    expect((await world.tidemark('lun map db esx1 --lun 7')).out).toBe(
      `host esx1 sees db as LUN 7\n  iscsi://127.0.0.1:3260/${target}/7\n`,
    );
    await world.json('lun map db loopback --read-only');
    expect((await world.tidemark('lun list')).out).toMatch(
      /^HOST +LUN +VOLUME +SIZE +ACCESS +NAA\nesx1 +7 +db +5 GiB +read-write +naa\.6+\nloopback +7 +db +5 GiB +read-only /,
    );
    expect(await world.json('lun list --host esx1 --volume db')).toMatchObject({
      luns: [{ host: 'esx1', lun: 7, volume: 'db', isReadOnly: false }],
    });
    expect((await world.tidemark('volume show db')).out).toMatch(
      /^host +esx1, LUN 7\niscsi +iscsi:\/\/127\.0\.0\.1:3260\/iqn\.2026-11\.org\.tidemark:main-00000000\/7\nhost +loopback, LUN 7, read-only$/m,
    );
    expect((await world.tidemark('host show esx1')).out).toMatch(/^LUN 7 +db$/m);
    expect(await world.tidemark('lun unmap db esx1')).toMatchObject({
      code: 0,
      out: 'host esx1 does not see db (LUN 7) any more\n',
    });
    expect(await world.tidemark('lun unmap db esx1')).toMatchObject({
      code: 1,
      err: matching(/host esx1 does not have db\nhint: /),
    });
  });

  it('warns of a write-back volume', async () => {
    await withHost();
    await world.json('volume set db --ack write-back');
    expect((await world.tidemark('lun map db esx1')).out).toContain('write-back: a power loss');
  });

  it('is unmapped under a host that is logged in only with consent', async () => {
    await withHost();
    await world.json('lun map db esx1');
    logIn('esx1', [0]);
    expect(await world.tidemark('lun unmap db esx1')).toMatchObject({
      code: 1,
      err: containing('host esx1 has db as LUN 0 in 1 session, and would lose it at once'),
    });
    expect(await world.tidemark('lun unmap db esx1', { answer: 'db' })).toMatchObject({ code: 0 });
  });

  it('of a volume that is deleted goes with it, and the question names the host', async () => {
    await withHost();
    await world.json('lun map db esx1');
    expect(await world.tidemark('volume delete db')).toMatchObject({
      code: 1,
      err: containing(
        'deleting volume db (5 GiB) destroys 8 KiB of data, and takes it away from host',
      ),
    });
    const asked = await world.tidemark('volume delete db', { answer: 'db' });
    expect(asked).toMatchObject({
      code: 0,
      err: containing(
        'and takes it away from host esx1 (LUN 0); its past moments go with it, and this cannot be undone',
      ),
    });
    expect(await world.json('lun list')).toEqual({ luns: [] });
    expect(world.engine.pool.iscsi?.hosts[0]?.luns).toEqual([]);
  });
});

describe('tidemark session', () => {
  it('lists who is logged in, and ends sessions', async () => {
    await withHost();
    expect((await world.tidemark('session list')).out).toBe('nobody is logged in\n');
    logIn('esx1', [0, 1]);
    world.engine.pool.sessions.push(
      oneSession({ id: 2, host: 'loopback', initiatorAlias: 'here' }),
    );
    expect((await world.tidemark('session list --host esx1')).out).toMatch(
      new RegExp(
        `^ID +HOST +INITIATOR +FROM +PORTAL +SINCE +LUNS +COMMANDS +READ +WRITTEN\n +1 +esx1 +${esx} +10\\.0\\.0\\.7 +10\\.0\\.0\\.5:3260 .* 0,1 +12 +4 KiB +8 KiB\ntarget iqn`,
      ),
    );
    expect(await world.json('session list')).toMatchObject({ sessions: [{ id: 1 }, { id: 2 }] });
    expect((await world.tidemark('session drop 2')).out).toBe('1 session ended\n');
    expect((await world.tidemark('session drop --host esx1')).out).toBe('1 session ended\n');
    expect((await world.tidemark('session drop --host esx1')).out).toBe('0 sessions ended\n');
    expect(await world.tidemark('session drop 2')).toMatchObject({
      code: 1,
      err: matching(/there is no session 2\nhint: /),
    });
  });
});

describe('tidemark portal', () => {
  it('lists, adds and removes addresses', async () => {
    expect((await world.tidemark('portal add 127.0.0.2')).out).toMatch(
      /^ADDRESS +PORT +GROUP +FROM +STATE\n127\.0\.0\.1 +3260 +1 +settings +open\n127\.0\.0\.2 +3260 +1 +added +open\ntarget iqn/,
    );
    expect(await world.json('portal add [::1]:3261 --group 2')).toMatchObject({
      portals: [{}, {}, { address: '::1', port: 3261, group: 2, origin: 'added' }],
    });
    expect(await world.tidemark('portal add [0:0::1]:3261')).toMatchObject({ code: 1 });
    expect(await world.tidemark('portal add ::1:13260')).toMatchObject({ code: 0 });
    expect(await world.tidemark('portal add fd00::5')).toMatchObject({ code: 0 });
    expect(await world.tidemark('portal add ::')).toMatchObject({ code: 0 });
    for (const line of ['portal remove fd00:0::5', 'portal remove 0::0']) {
      expect(await world.tidemark(line)).toMatchObject({ code: 0 });
    }
    expect(await world.tidemark('portal add 127.0.0.1')).toMatchObject({ code: 1 });
    expect((await world.tidemark('pool status')).out).toMatch(
      /^iscsi +127\.0\.0\.1:3260, 127\.0\.0\.2:3260, \[::1\]:3261, \[::1\]:13260, target iqn/m,
    );
    await world.json('portal remove [::1]:3261');
    await world.json('portal remove ::1:13260');
    await world.json('portal remove 127.0.0.2');
    expect(await world.tidemark('portal remove 127.0.0.1')).toMatchObject({
      code: 1,
      err: matching(/no portal 127\.0\.0\.1 port 3260 was added\nhint: /),
    });
    expect(await world.json('portal list')).toMatchObject({ portals: [{ port: 3260 }] });
  });

  it('that cannot be opened is not added', async () => {
    world.engine.pool.badAddresses.push('10.9.9.9');
    expect(await world.tidemark('portal add 10.9.9.9')).toMatchObject({
      code: 1,
      err: containing('cannot listen on 10.9.9.9:3260'),
    });
    expect(await world.json('portal list')).toMatchObject({ portals: [{ address: '127.0.0.1' }] });
  });
});
