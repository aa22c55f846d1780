/**
 * Targets of hosts' own, IPv6, and what must stay for persistent reservations: as an operator and initiators meet it, over restarts
 * of engine and daemon.
 */
import { describe, expect, it } from 'vitest';
import { freePorts } from '../support/free-ports.ts';
import { describeWith } from '../support/interop.ts';
import type { IscsiClient } from '../support/iscsi-client.ts';
import { containing, matching } from '../support/matching.ts';
import { type Background, until } from '../support/run.ts';
import {
  inquiryPage,
  persistentReserveIn,
  persistentReserveOut,
  reserveParameters,
} from '../support/scsi-cdb.ts';
import {
  attentions,
  esx,
  read,
  TargetUnderTest,
  verdict,
  write,
} from '../support/target-under-test.ts';

const withinMs = 30_000;
const other = 'iqn.2026-01.test:other';
const conflict = 'status 18';
const register = 0;
const reserve = 1;
const release = 2;
const writeExclusive = 1;

async function reserveOut(
  client: IscsiClient,
  action: number,
  pair: readonly [bigint, bigint],
): Promise<string> {
  const list = reserveParameters(...pair, true);
  const cdb = persistentReserveOut(action, action === register ? 0 : writeExclusive);
  return verdict(await client.command(cdb, { write: list }));
}

async function keys(client: IscsiClient): Promise<bigint[]> {
  const { data } = await client.command(persistentReserveIn(0, 4096), { readBytes: 4096 });
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  return Array.from({ length: view.getUint32(4) / 8 }, (_, index) =>
    view.getBigUint64(8 + index * 8),
  );
}

/** What page 83h (SPC-4 7.8.5) says of the way: relative target port, and the names of port and target. */
async function wayOf(client: IscsiClient): Promise<{ relativePort: number; names: string[] }> {
  const { data } = await client.command(inquiryPage(0x83, 4096), { readBytes: 4096 });
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const names: string[] = [];
  let relativePort = 0;
  for (let at = 4; at < 4 + view.getUint16(2); at += 4 + view.getUint8(at + 3)) {
    const kind = view.getUint8(at + 1) & 0x3f;
    if (kind === 0x14) relativePort = view.getUint16(at + 6);
    const isName = kind === 0x18 || kind === 0x28;
    const text = data.subarray(at + 4, at + 4 + view.getUint8(at + 3));
    if (isName) names.push(new TextDecoder().decode(text).replaceAll('\0', ''));
  }
  return { relativePort, names };
}

async function killEngine(target: TargetUnderTest, daemon: Background): Promise<void> {
  const again = (): number => daemon.output.split('serves pool main again').length;
  const before = again();
  process.kill(await target.enginePid(), 'SIGKILL');
  await until('the engine serves again', withinMs, () => again() > before);
}

describeWith(['libiscsi-bin'], "a target of a host's own", () => {
  it('is all that its host finds and logs in to, and nobody else does', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const pool = (await target.pool()).iscsi.targetName;
    const own = `${pool}:esx`;
    await target.json(`host create esx --initiator ${esx} --own-target`);
    expect(await target.json('lun map lun0 esx --lun 4')).toMatchObject({
      iscsiUris: [`iscsi://127.0.0.1:${await target.port()}/${own}/4`],
    });
    const portal = `iscsi://127.0.0.1:${await target.port()}`;
    const found = async (initiator: string): Promise<string[]> => {
      const { stdout } = await target.tool('iscsi-ls', ['-i', initiator, portal]);
      return [...stdout.matchAll(/^Target:(\S+)/gm)].map(([, name = '']) => name);
    };
    const check = async (): Promise<void> => {
      expect([await found(esx), await found(other)]).toEqual([[own], [pool]]);
      await expect(target.logIn()).rejects.toThrow('login refused: 202');
      const intruder = { initiatorName: other, targetName: own };
      await expect(target.logIn(intruder)).rejects.toThrow('login refused: 202');
      await using mine = await target.logIn({ targetName: own });
      expect(await attentions(mine, 4)).toEqual(['6/29/00']);
      expect(await attentions(mine, 0)).toContain('5/25/00');
      await using theirs = await target.logIn({ initiatorName: other, isid: 2 });
      expect(await attentions(theirs, 0)).toEqual(['6/29/00']);
    };
    await check();
    expect(target.read('run/main.log')).toMatch(
      new RegExp(`login of ${esx} from 127.0.0.1:\\d+ refused: .* host esx has the target ${own}`),
    );
    await killEngine(target, daemon);
    await check();
    const missing = { initiatorName: esx, targetName: `${pool}:gone` };
    await expect(target.logIn(missing)).rejects.toThrow('login refused: 203');
  });

  it('is named in page 83, and changed under a session only with consent; registrations stay', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    const pool = (await target.pool()).iscsi.targetName;
    await target.json(`host create esx --initiator ${esx} --target iqn.2026-01.com.example:x`);
    await target.json('lun map lun0 esx');
    await using first = await target.logIn({ targetName: 'iqn.2026-01.com.example:x' });
    await using stranger = await target.logIn({ initiatorName: other, isid: 2 });
    for (const each of [first, stranger]) await attentions(each, 0);
    expect(await wayOf(first)).toEqual({
      relativePort: 1,
      names: ['iqn.2026-01.com.example:x,t,0x0001', 'iqn.2026-01.com.example:x'],
    });
    expect((await wayOf(stranger)).names).toEqual([`${pool},t,0x0001`, pool]);
    expect(await reserveOut(first, register, [0n, 7n])).toBe('good');
    expect(await reserveOut(first, reserve, [7n, 0n])).toBe('good');
    expect([await write(first, 0, 1), await write(stranger, 0, 2)]).toEqual(['good', conflict]);
    expect(await target.cli('host set esx --no-own-target')).toMatchObject({
      code: 1,
      stderr: matching(
        /1 session would be ended: iqn\.1998-01\.com\.vmware:esx1 \(session \d+ from 127/,
      ),
    });
    await target.json('host set esx --no-own-target --force');
    await first.closed;
    expect(await write(stranger, 0, 2)).toBe(conflict);
    await using again = await target.logIn();
    await attentions(again, 0);
    expect(await write(again, 0, 3)).toBe('good');
    expect(await reserveOut(again, release, [7n, 0n])).toBe('good');
    expect(await write(stranger, 0, 4)).toBe('good');
    expect(await read(again, 0)).toBe(4);
  });
});

describeWith(['libiscsi-bin'], 'IPv6', () => {
  it('portals are found and used, bare and in brackets, after a restart of the engine, too', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const ports = (await freePorts(2)).map((port) => (port < 10_000 ? port + 10_000 : port));
    const [first = 0, second = 0] = ports;
    await target.json(`portal add ::1:${first}`);
    await target.json(`portal add [::1]:${second}`);
    const listed = async (): Promise<void> => {
      const portal = `iscsi://[::1]:${second}`;
      const { stdout, stderr } = await target.tool('iscsi-ls', ['-s', '-i', esx, portal]);
      expect(stdout + stderr).toContain(`Portal:[::1]:${first},1`);
      expect(stdout).toContain(`Portal:[::1]:${second},1`);
      expect(stdout).toMatch(/^Lun:0 +Type:DIRECT_ACCESS/m);
    };
    await listed();
    await killEngine(target, daemon);
    await listed();
    const { targetName } = (await target.pool()).iscsi;
    const uri = `iscsi://[::1]:${first}/${targetName}/0`;
    expect((await target.cli('volume show lun0')).stdout).toContain(uri);
    const inquiry = await target.tool('iscsi-inq', ['-i', esx, uri]);
    expect(inquiry).toMatchObject({ code: 0, stdout: containing('DIRECT_ACCESS') });
    await target.json(`portal remove [0::1]:${first}`);
    expect(await target.tool('iscsi-inq', ['-i', esx, uri])).not.toMatchObject({ code: 0 });
  });

  it('on all addresses lives beside IPv4 on all addresses, on one port', async () => {
    const args = ['--nbd-port', '0', '--listen', '0.0.0.0'];
    const { target } = await TargetUnderTest.start(args);
    await using _ = target;
    const port = await target.port();
    await target.json(`portal add [::]:${port}`);
    for (const host of ['127.0.0.1', '[::1]']) {
      const { stdout } = await target.tool('iscsi-ls', ['-i', esx, `iscsi://${host}:${port}`]);
      expect(stdout).toContain(`Portal:127.0.0.1:${port},1`);
      expect(stdout).toContain(`Portal:[::1]:${port},1`);
    }
    await target.json(`portal remove [::]:${port}`);
    expect(await target.json('portal list')).toMatchObject({ portals: [{ address: '0.0.0.0' }] });
  });
});

describe('persistent reservations', () => {
  it('name target ports that stay the same over restarts and over other portals coming and going', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const [a = 0, b = 0, c = 0] = await freePorts(3);
    await target.json(`portal add 127.0.0.1:${a} --group 5`);
    await target.json(`portal add 127.0.0.1:${b} --group 2`);
    {
      await using client = await target.logIn({ port: b });
      await attentions(client, 0);
      expect((await wayOf(client)).relativePort).toBe(2);
      expect(await reserveOut(client, register, [0n, 9n])).toBe('good');
      expect(await reserveOut(client, reserve, [9n, 0n])).toBe('good');
    }
    const check = async (): Promise<void> => {
      await using client = await target.logIn({ port: b });
      await using elsewhere = await target.logIn({ isid: 2 });
      for (const each of [client, elsewhere]) await attentions(each, 0);
      expect((await wayOf(client)).relativePort).toBe(2);
      expect((await wayOf(elsewhere)).relativePort).toBe(1);
      expect(await keys(client)).toEqual([9n]);
      expect([await write(client, 0, 1), await write(elsewhere, 0, 2)]).toEqual(['good', conflict]);
    };
    await check();
    await target.json(`portal remove 127.0.0.1:${a}`);
    await target.json(`portal add 127.0.0.1:${c} --group 1`);
    await check();
    await killEngine(target, daemon);
    await check();
    // Another daemon attaches to the engine; then both start anew.
    await daemon.stop('SIGKILL');
    const next = await target.start();
    await check();
    await next.stop('SIGTERM');
    await target.start(['--nbd-port', '0', '--iscsi-port', '0']);
    await check();
  });

  it('go by the name alone when the volume says so, over a restart of the engine, too', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    {
      await using client = await target.logIn({ isid: 1 });
      await attentions(client, 0);
      expect(await reserveOut(client, register, [0n, 9n])).toBe('good');
      expect(await reserveOut(client, reserve, [9n, 0n])).toBe('good');
    }
    await using again = await target.logIn({ isid: 2 });
    await attentions(again, 0);
    expect(await write(again, 0, 1)).toBe(conflict);
    await target.json('volume set lun0 --pr-ignore-isid on');
    expect(await write(again, 0, 1)).toBe('good');
    await killEngine(target, daemon);
    await again.closed;
    expect((await target.cli('volume show lun0')).stdout).toMatch(/^reservations +.* name alone$/m);
    await using third = await target.logIn({ isid: 3 });
    await attentions(third, 0);
    expect([await keys(third), await write(third, 0, 2)]).toEqual([[9n], 'good']);
    expect(await target.cli('volume set lun0 --pr-ignore-isid off')).toMatchObject({
      code: 1,
      stderr: matching(/registered for persistent reservations .*\nhint: /),
    });
    expect(await reserveOut(third, register, [9n, 0n])).toBe('good');
    expect(await target.json('volume set lun0 --pr-ignore-isid off')).toMatchObject({
      prIgnoresIsid: false,
    });
  });
});

describe('a deletion', () => {
  it('of what holds data takes consent, which says what is destroyed, also just after a restart', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    await target.json('volume create empty --size 64M');
    expect(await target.json('volume delete empty')).toEqual({ deleted: 'empty' });
    await target.json('volume create db --size 64M');
    await target.json('lun map db loopback');
    {
      await using client = await target.logIn();
      await attentions(client, 1);
      expect(await write(client, 1, 1)).toBe('good');
    }
    await target.json('snapshot create db mon');
    expect((await target.cli('volume delete db')).stderr).toMatch(
      /deleting volume db \(64 MiB\) destroys 4 KiB of data and 1 snapshot \(mon\), and takes it away from host loopback \(LUN 1\); its past moments go with it, and this cannot be undone\nhint: .*--force/,
    );
    await target.json('snapshot delete db mon');
    await target.json('lun unmap db loopback --force');
    await killEngine(target, daemon);
    expect(await target.cli('volume delete db')).toMatchObject({
      code: 1,
      stderr: matching(/destroys (?:4 KiB of data|its data)/),
    });
    expect(await target.json('volume delete db --yes')).toEqual({ deleted: 'db' });
  });

  it('of a view takes consent only when something was written to it', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    expect(await write(client, 0, 1)).toBe('good');
    for (const name of ['untouched', 'written']) {
      await target.json(`view create lun0 --at now --name ${name}`);
    }
    await target.json('lun map written loopback');
    expect(await attentions(client, 1)).toEqual(['6/29/00']);
    expect(await attentions(client, 0)).toEqual(['6/3f/0e']);
    expect(await write(client, 1, 2)).toBe('good');
    // The source goes on: that is not the view's.
    expect(await write(client, 0, 3)).toBe('good');
    await target.json('view refresh untouched --at now');
    await target.json('lun unmap written loopback --force');
    await killEngine(target, daemon);
    expect(await target.cli('view delete written')).toMatchObject({
      code: 1,
      stderr: matching(
        /deleting view written \(16 GiB\) destroys 4 KiB written to it; its past moments go with it, and this cannot/,
      ),
    });
    expect(await target.json('view delete untouched')).toEqual({ deleted: 'untouched' });
    expect(await target.json('view delete written --force')).toEqual({ deleted: 'written' });
  });
});

describe('a verify', () => {
  it('whose daemon is killed is told as lost to who waits for it and by pool operations; the next one runs', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const pid = await target.enginePid();
    process.kill(pid, 'SIGSTOP');
    try {
      const waiting = target.cli('pool verify');
      await until('it is under way', withinMs, async () => {
        const { stdout } = await target.cli('pool operations');
        return stdout.includes('running');
      });
      await daemon.stop('SIGKILL');
      process.kill(pid, 'SIGCONT');
      await target.start();
      expect(await waiting).toMatchObject({
        code: 1,
        stderr: matching(/the daemon ended while it was verifying the pool.*\nhint: run it again/),
      });
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect((await target.cli('pool operations')).stdout).toMatch(/pool-verify +failed .*\n.*lost/);
    expect(await target.json('pool verify')).toMatchObject({ state: 'succeeded' });
  });
});
