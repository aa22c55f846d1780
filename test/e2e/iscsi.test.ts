/**
 * Hosts, LUN maps, portals and sessions as an operator and an initiator meet them: the daemon, the engine, the command line, Debian's
 * libiscsi and an initiator of our own that sees every unit attention.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isAlive } from '../support/appliance.ts';
import { DaemonUnderTest, daemonEntries } from '../support/daemon-under-test.ts';
import { freePorts } from '../support/free-ports.ts';
import { describeWith } from '../support/interop.ts';
import { Opcode } from '../support/iscsi-payload.ts';
import { containing, matching } from '../support/matching.ts';
import { type RunResult, until } from '../support/run.ts';
import { write16 } from '../support/scsi-cdb.ts';
import {
  attentions,
  esx,
  read,
  TargetUnderTest,
  verdict,
  write,
} from '../support/target-under-test.ts';

const withinMs = 30_000;

describeWith(['libiscsi-bin', 'qemu-utils', 'qemu-block-extra'], 'a first start', () => {
  it('prints an iscsi:// line that works, for this machine and any initiator', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const [, printed = ''] = /^ {4}(iscsi:\S+)$/m.exec(daemon.output) ?? [];
    expect(printed).toBe(await target.url(0));
    const listed = await target.tool('iscsi-ls', ['-s', printed.replace(/\/iqn.*/, '')]);
    expect(listed.stdout).toMatch(
      /^Target:iqn\.2026-11\.org\.tidemark:main-[0-9a-f]{8} Portal:127/,
    );
    expect(listed.stdout).toMatch(/^Lun:0 +Type:DIRECT_ACCESS/m);
    const io = await target.tool('qemu-io', [
      ...['-f', 'raw', '-c', 'write -P 7 1M 64k', '-c', 'read -P 7 1M 64k', printed],
    ]);
    expect(io).toMatchObject({ code: 0, stdout: matching(/wrote 65536[^]*read 65536/) });
    // The same blocks over the other protocol.
    const nbd = `nbd+unix:///lun0?socket=${target.runPath('nbd.sock')}`;
    const other = await target.tool('qemu-io', ['-f', 'raw', '-c', 'read -P 7 1M 64k', nbd]);
    expect(other).toMatchObject({ code: 0, stdout: containing('read 65536') });
  });

  it('listens on all addresses when it is told so; its first host stays for this machine', async () => {
    const { target } = await TargetUnderTest.start(['--nbd-port', '0', '--listen', '::']);
    await using _ = target;
    await using client = await target.logIn();
    expect(await attentions(client, 0)).toEqual(['6/29/00']);
    expect(await target.json('host list')).toMatchObject({
      hosts: [{ name: 'loopback', isAnyInitiator: true, isLoopbackOnly: true }],
    });
  });
});

describe('CHAP', () => {
  const secret = 'correct-horse-battery';
  const targetSecret = 'quite-another-one';

  it('lets in who knows the secret, and nobody else, to discovery too, and proves itself when asked; no secret is anywhere but in the catalog', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    const file = target.secretFile('secret', secret);
    const outFile = target.secretFile('out', targetSecret);
    const made = await target.cli(
      `host create esx --initiator ${esx} --chap-user esx --chap-secret-file ${file} --chap-out-user array --chap-out-secret-file ${outFile}`,
    );
    expect(made).toMatchObject({ code: 0, stdout: containing('CHAP as esx, mutual') });
    await target.json('lun map lun0 esx');
    for (const name of ['secret', 'out']) fs.rmSync(path.join(target.folder, name));
    const asked = async (account: string): Promise<RunResult> =>
      await target.tool('iscsi-inq', ['-i', esx, await target.url(0, account)]);
    expect((await asked(`esx%${secret}@`)).stdout).toContain('DIRECT_ACCESS');
    for (const account of [`esx%${secret}x@`, `other%${secret}@`, '']) {
      expect((await asked(account)).code).not.toBe(0);
    }
    const mutual = async (password: string): Promise<RunResult> => {
      const url = await target.url(0, `esx%${secret}@`);
      const query = `?target_user=array&target_password=${password}`;
      return await target.tool('iscsi-inq', ['-i', esx, url + query]);
    };
    expect((await mutual(targetSecret)).stdout).toContain('DIRECT_ACCESS');
    expect((await mutual(`${targetSecret}x`)).code).not.toBe(0);
    const discovered = async (account: string): Promise<string> => {
      const portal = `iscsi://${account}127.0.0.1:${await target.port()}`;
      return (await target.tool('iscsi-ls', ['-i', esx, portal])).stdout;
    };
    expect(await discovered(`esx%${secret}@`)).toContain('Target:iqn.2026-11.org.tidemark');
    expect(await discovered('')).toBe('');
    const shown = await target.cli('host show esx');
    const everywhere = [
      ...[made.stdout, shown.stdout, daemon.output],
      ...['daemon.log', 'main.log'].map((name) => target.read(`run/${name}`)),
    ].join('\n');
    for (const each of [secret, targetSecret]) {
      expect(everywhere).not.toContain(each);
      expect(everywhere).not.toContain(Buffer.from(each).toString('hex'));
      expect(fs.readFileSync(path.join(target.folder, 'catalog.db')).includes(each)).toBe(true);
    }
    expect(fs.statSync(path.join(target.folder, 'catalog.db')).mode & 0o777).toBe(0o600);
  });
});

describe('what a host sees', () => {
  it('follows its LUN map while it is logged in', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await target.json('volume create db --size 64M');
    await target.json(`host create esx --initiator ${esx}`);
    await using client = await target.logIn();
    // Nothing is mapped yet, and the volume of another host is not there for this one.
    expect(await attentions(client, 0)).toContain('5/25/00');
    await target.json('lun map lun0 esx --lun 5');
    expect(await attentions(client, 5)).toEqual(['6/29/00']);
    await target.json('lun map db esx');
    expect(await attentions(client, 5)).toEqual(['6/3f/0e']);
    expect(await attentions(client, 0)).toEqual(['6/29/00']);
    expect(await write(client, 0, 1)).toBe('good');
    expect(await target.cli('lun unmap db esx')).toMatchObject({
      code: 1,
      stderr: matching(/host esx has db as LUN 0 in 1 session.*\nhint: .*--force/),
    });
    await target.json('lun unmap db esx --force');
    expect(await write(client, 0, 2)).toBe('5/25/00');
    expect(await attentions(client, 5)).toEqual(['6/3f/0e']);
    expect(await target.json('lun list --host esx')).toMatchObject({ luns: [{ lun: 5 }] });
  });

  it('may be read-only for one host and not for another', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    const other = 'iqn.2026-01.test:other';
    await target.json(`host create esx --initiator ${esx}`);
    await target.json(`host create other --initiator ${other}`);
    await target.json('lun map lun0 esx --read-only');
    await target.json('lun map lun0 other');
    await using reader = await target.logIn();
    await using writer = await target.logIn({ initiatorName: other, isid: 2 });
    await attentions(reader, 0);
    await attentions(writer, 0);
    expect(await write(reader, 0, 9)).toBe('7/27/00');
    expect(await write(writer, 0, 9)).toBe('good');
    expect(await read(reader, 0)).toBe(9);
  });

  it('ends when its host goes, and only then', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await target.json(`host create esx --initiator ${esx}`);
    await target.json('lun map lun0 esx');
    await using client = await target.logIn();
    await using bystander = await target.logIn({
      initiatorName: 'iqn.2026-01.test:bystander',
      isid: 2,
    });
    await attentions(bystander, 0);
    expect(await target.cli('host delete esx')).toMatchObject({
      code: 1,
      stderr: matching(/takes LUN 0 \(lun0\) away from its initiators, and ends 1 session/),
    });
    await target.json('host delete esx --force');
    await target.json('host delete loopback --force');
    await client.closed;
    await bystander.closed;
    await expect(target.logIn()).rejects.toThrow('login refused: 202');
  });
});

describe('sessions', () => {
  it('are listed with what they did, and dropped', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    await write(client, 0, 1);
    await read(client, 0);
    const [session] = await target.sessions();
    expect(session).toMatchObject({
      host: 'loopback',
      kind: 'normal',
      initiatorName: esx,
      address: matching(/^127\.0\.0\.1:\d+$/),
      portal: `127.0.0.1:${await target.port()}`,
      luns: [0],
      commandCount: 4,
      bytesRead: 4096,
      bytesWritten: 4096,
    });
    expect(await target.json('volume show lun0')).toMatchObject({ sessionCount: 1 });
    expect(await target.json(`session drop ${session?.id}`)).toEqual({ droppedCount: 1 });
    await client.closed;
    await until(
      'nobody is logged in',
      withinMs,
      async () => (await target.sessions()).length === 0,
    );
    await using again = await target.logIn();
    expect(await target.json('session drop --host loopback')).toEqual({ droppedCount: 1 });
    await again.closed;
  });

  it('stay through a rollback that was asked for, and are told', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    await write(client, 0, 1);
    await target.json('snapshot create lun0 one');
    await write(client, 0, 2);
    const rollback = 'volume rollback lun0 --to snapshot:one --yes';
    expect(await target.cli(rollback)).toMatchObject({
      code: 1,
      stderr: matching(/lun0 is open on 1 iSCSI session, .*\nhint: .*--disconnect/),
    });
    expect(await read(client, 0)).toBe(2);
    await target.json(`${rollback} --disconnect`);
    expect(await attentions(client, 0)).toEqual(['6/3f/03']);
    expect(await read(client, 0)).toBe(1);
    await target.json('volume rollback lun0 --undo --yes --disconnect');
    expect(await attentions(client, 0)).toEqual(['6/3f/03']);
    expect(await read(client, 0)).toBe(2);
    expect(await write(client, 0, 3)).toBe('good');
  });

  it('write on under rollbacks: a write is answered good, busy or with the news, and what is written after the last one stays', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    await target.json('snapshot create lun0 before');
    const over = new AbortController();
    const said = new Set<string>();
    const writing = (async () => {
      for (let count = 0; !over.signal.aborted; count += 1) {
        said.add(await write(client, 0, count & 255));
      }
    })();
    for (let count = 0; count < 5; count += 1) {
      await target.json('volume rollback lun0 --to snapshot:before --yes --disconnect');
    }
    over.abort();
    await writing;
    const allowed = new Set(['good', '6/3f/03', 'status 8']);
    expect([...said].filter((each) => !allowed.has(each))).toEqual([]);
    expect(said).toContain('good');
    expect(client.strays).toEqual([]);
    await attentions(client, 0);
    expect(await write(client, 0, 77)).toBe('good');
    expect(await read(client, 0)).toBe(77);
  });

  it('see a view refreshed, a volume grown and another way to answer writes without logging in again', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await target.json('view create lun0 --at now --name test');
    await target.json('lun map test loopback');
    await using client = await target.logIn();
    await attentions(client, 0);
    expect(await attentions(client, 1)).toEqual(['6/29/00']);
    await write(client, 0, 5);
    await target.json('view refresh test --at now --disconnect');
    expect(await attentions(client, 1)).toEqual(['6/3f/03']);
    expect(await read(client, 1)).toBe(5);
    await target.json('volume resize lun0 32G');
    expect(await attentions(client, 0)).toEqual(['6/2a/09']);
    await target.json('volume set lun0 --ack write-back');
    await target.json('volume set lun0 --ack write-back');
    expect(await attentions(client, 0)).toEqual(['6/2a/01']);
  });

  it('lose a volume that is deleted, which takes consent that names the host', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await target.json('volume create db --size 64M');
    await target.json('lun map db loopback');
    await using client = await target.logIn();
    await attentions(client, 1);
    expect(await target.cli('volume delete db')).toMatchObject({
      code: 1,
      stderr: matching(/deleting volume db \(64 MiB\) takes it away from host loopback \(LUN 1\)/),
    });
    await target.json('volume delete db --force');
    expect(await write(client, 1, 1)).toBe('5/25/00');
    expect(await attentions(client, 0)).toContain('6/3f/0e');
    expect(await target.json('lun list')).toMatchObject({ luns: [{ volume: 'lun0' }] });
  });

  it('are asked to log out when the appliance stops', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    const pid = await target.enginePid();
    const stopped = daemon.stop('SIGTERM');
    await until('the initiator is asked to log out', withinMs, () =>
      client.strays.some(({ bhs }) => (bhs.getUint8(0) & 63) === Opcode.asyncMessage),
    );
    await client.logout().catch(() => undefined);
    await stopped;
    expect(daemon.child.exitCode).toBe(0);
    expect(isAlive(pid)).toBe(false);
    await target.start();
    expect((await target.pool()).recovery.wasClean).toBe(true);
  });
});

describe('a pool that gets full', () => {
  const mebi = 1024 ** 2;

  it('tells every host once at the soft limit, also one that comes later, and stops writes at the hard one with 7/27/07', async () => {
    const { target } = await TargetUnderTest.start(['--nbd-port', '0', '--pool-size', '256M']);
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    const data = new Uint8Array(mebi).fill(1);
    let written = 0;
    const fill = async (upTo: number): Promise<string> => {
      for (; written < upTo; written += 1) {
        const answer = await client.command(write16(written * 2048, 2048), { write: data });
        if (verdict(answer) !== 'good') return verdict(answer);
      }
      return 'good';
    };
    const { softLimitBytes, writeLimitBytes } = await target.pool();
    const softMebi = Math.ceil(softLimitBytes / mebi);
    expect(softMebi + 8).toBeLessThan(writeLimitBytes / mebi);
    expect(await fill(softMebi - 12)).toBe('good');
    expect(await attentions(client, 0)).toEqual([]);
    // Whichever command comes first is told: one of the writes, or the one that asks.
    const said: string[] = [];
    for (
      let answer = await fill(softMebi + 2);
      answer !== 'good';
      answer = await fill(softMebi + 2)
    ) {
      said.push(answer);
      expect(said).toHaveLength(1);
    }
    await until('the host is told', withinMs, async () => {
      if (said.length === 0) said.push(...(await attentions(client, 0)));
      return said.length > 0;
    });
    expect(said).toEqual(['6/38/07']);
    await using late = await target.logIn({ initiatorName: 'iqn.2026-01.test:late', isid: 2 });
    expect(await attentions(late, 0)).toEqual(['6/29/00', '6/38/07']);
    expect(await fill(256)).toBe('7/27/07');
    expect(await attentions(client, 0)).toEqual([]);
    expect(await read(client, 0)).toBe(1);
    expect(target.read('run/main.log')).toContain('space runs short');
  });
});

describe('LUN maps and portals', () => {
  it('are there again after the engine was killed, under the same numbers and ports', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    await target.json(`host create esx --initiator ${esx}`);
    await target.json('lun map lun0 esx --lun 9');
    const [port] = await freePorts(1);
    await target.json(`portal add 127.0.0.2:${port}`);
    const before = (await target.pool()).iscsi;
    await using client = await target.logIn();
    await attentions(client, 9);
    await write(client, 9, 4);
    process.kill(await target.enginePid(), 'SIGKILL');
    await client.closed;
    await until('the engine serves again', withinMs, () =>
      daemon.output.includes('serves pool main again'),
    );
    expect((await target.pool()).iscsi).toEqual(before);
    await using again = await target.logIn();
    expect(await attentions(again, 9)).toEqual(['6/29/00']);
    expect(await read(again, 9)).toBe(4);
  });

  it('are not touched by the death of the daemon: sessions go on, and the next daemon finds them', async () => {
    const { target, daemon } = await TargetUnderTest.start();
    await using _ = target;
    await using client = await target.logIn();
    await attentions(client, 0);
    const before = (await target.pool()).iscsi;
    await daemon.stop('SIGKILL');
    expect(await write(client, 0, 6)).toBe('good');
    await target.start();
    expect((await target.pool()).iscsi).toEqual(before);
    expect(await read(client, 0)).toBe(6);
    expect(await target.sessions()).toHaveLength(1);
    expect(await attentions(client, 0)).toEqual([]);
  });

  it('of a port in use are refused at the first start, with what to do', async () => {
    const { target } = await TargetUnderTest.start();
    await using _ = target;
    await using second = new DaemonUnderTest(daemonEntries.real);
    const port = String(await target.port());
    const daemon = second.launch(['--nbd-port', '0', '--iscsi-port', port]);
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toMatch(/iSCSI: cannot listen on .*\nhint: .*--iscsi-port/);
    await expect(second.enginePid()).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('are none at all with --iscsi-port off', async () => {
    const { target, daemon } = await TargetUnderTest.start([
      '--nbd-port',
      '0',
      '--iscsi-port',
      'off',
    ]);
    await using _ = target;
    expect(daemon.output).not.toContain('iscsi://');
    expect((await target.cli('portal list')).stdout).toContain('iSCSI is off');
    expect((await target.pool()).iscsi.portals).toEqual([]);
  });
});
