/**
 * Daemon, engine process and command line together, as an operator meets them. The same expectations hold over
 * the real engine and over the one without a store; what only a misbehaving engine shows is at the end.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { enginesOf, isAlive } from '../support/appliance.ts';
import { DaemonUnderTest, daemonEntries } from '../support/daemon-under-test.ts';
import { matching } from '../support/matching.ts';
import { Background, run, until } from '../support/run.ts';

const withinMs = 30_000;

describe.each(Object.entries(daemonEntries))('tidemark over the %s engine', (_name, entry) => {
  it('makes the pool and a first volume, and prints what to type next', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const daemon = await tidemark.start();
    expect(daemon.output).toContain('volume lun0 (16 GiB)');
    const socket = tidemark.runPath('nbd.sock');
    expect(daemon.output).toContain(`nbd+unix:///lun0?socket=${socket}`);
    const pool = await tidemark.pool();
    expect(daemon.output).toContain(`nbd://127.0.0.1:${pool.nbd.tcp?.port}/lun0`);
    expect(pool).toMatchObject({ name: 'main', state: 'online', nbd: { socketPath: socket } });
  });

  it('keeps everything under its folder from other users', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await tidemark.start();
    for (const name of ['daemon.sock', 'main.sock', 'daemon.log', 'main.log']) {
      expect(fs.statSync(tidemark.runPath(name)).mode & 0o077).toBe(0);
    }
    expect(fs.statSync(path.join(tidemark.folder, 'pools/main')).mode & 0o077).toBe(0);
  });

  it('is commanded from the shell: volumes and snapshots, from create to delete', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await tidemark.start();
    expect(await tidemark.json('volume create v1 --size 20G')).toMatchObject({
      name: 'v1',
      sizeBytes: 20 * 1024 ** 3,
      snapshotCount: 0,
    });
    expect((await tidemark.cli('volume create v1 --size 20G')).code).toBe(1);
    expect(await tidemark.json('snapshot create v1 s1')).toMatchObject({ exportName: 'v1@s1' });
    expect(await tidemark.json('snapshot list v1')).toMatchObject({ snapshots: [{ name: 's1' }] });
    expect(await tidemark.json('volume rename v1 v2')).toMatchObject({
      name: 'v2',
      snapshotCount: 1,
    });
    expect(await tidemark.json('volume resize v2 30G')).toMatchObject({
      sizeBytes: 30 * 1024 ** 3,
    });
    expect(await tidemark.cli('volume resize v2 10G')).toMatchObject({
      code: 1,
      stderr: matching(/hint: .*--force/),
    });
    expect(await tidemark.json('volume resize v2 10G --force')).toMatchObject({
      sizeBytes: 10 * 1024 ** 3,
    });
    expect(await tidemark.json('volume list')).toMatchObject({
      volumes: [{ name: 'lun0' }, { name: 'v2' }],
    });
    expect((await tidemark.cli('volume delete v2')).code).toBe(1);
    expect(await tidemark.json('snapshot delete v2 s1')).toEqual({ deleted: 'v2@s1' });
    expect(await tidemark.json('volume delete v2 --yes')).toEqual({ deleted: 'v2' });
    expect((await tidemark.cli('volume show v2')).code).toBe(1);
  });

  it('verifies, rebuilds and resizes the pool from the shell', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await tidemark.start(['--nbd-port', '0', '--pool-size', '2G']);
    expect(await tidemark.pool()).toMatchObject({ capacityBytes: 2 * 1024 ** 3 });
    expect(await tidemark.json('pool verify')).toMatchObject({
      state: 'succeeded',
      result: { faultCount: 0 },
    });
    expect(await tidemark.json('pool rebuild')).toMatchObject({
      state: 'succeeded',
      result: { wasEqual: true, volumeCount: 1 },
    });
    expect(await tidemark.json('pool resize 3G')).toMatchObject({ capacityBytes: 3 * 1024 ** 3 });
  });

  it('starts the engine again when it is killed, says so, and has lost nothing', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const daemon = await tidemark.start();
    await tidemark.cli('volume create kept --size 1G');
    const before = await tidemark.pool();
    process.kill(before.engine.pid, 'SIGKILL');
    await until('the engine serves again', withinMs, () =>
      daemon.output.includes('serves pool main again'),
    );
    expect(daemon.output).toMatch(
      /error: the engine of pool main ended \(killed by SIGKILL\); starting it again in (7[5-9]|[89]\d|100) ms/,
    );
    const pid = await tidemark.enginePid();
    expect(await tidemark.pool()).toMatchObject({
      engine: { pid, restartCount: 1 },
      nbd: before.nbd,
    });
    expect(await tidemark.json('volume show kept')).toMatchObject({ sizeBytes: 1024 ** 3 });
    expect(tidemark.read('run/daemon.log')).toContain('"signal":"SIGKILL"');
  });

  it('goes on when the terminal it prints to is gone', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const daemon = await tidemark.start();
    daemon.child.stdout?.destroy();
    process.kill(await tidemark.enginePid(), 'SIGKILL');
    await until('the engine serves again', withinMs, async () => {
      const { code, stdout } = await tidemark.cli('pool status');
      return code === 0 && stdout.includes('1 restart');
    });
    expect(daemon.isRunning).toBe(true);
    await daemon.stop();
    expect(daemon.child.exitCode).toBe(0);
  });

  it('leaves the engine alone when the daemon is killed; the next daemon attaches to it', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const first = await tidemark.start();
    const pid = await tidemark.enginePid();
    const { nbd } = await tidemark.pool();
    await first.stop('SIGKILL');
    expect(await tidemark.enginePid()).toBe(pid);
    expect(await tidemark.cli('volume list')).toMatchObject({
      code: 3,
      stderr: matching(/no tidemark daemon answers at .*daemon.sock\nhint: .*npm start/),
    });
    const second = await tidemark.start(['--nbd-port', String(nbd.tcp?.port)]);
    expect(second.output).toContain(`that was running (process ${pid})`);
    expect(await tidemark.pool()).toMatchObject({ engine: { pid, restartCount: 0 }, nbd });
    await second.stop();
    expect(second.child.exitCode).toBe(0);
    await until('the engine is gone', withinMs, () => !isAlive(pid));
  });

  it('stops on SIGTERM with exit code 0, the engine too, and opens cleanly after that', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const daemon = await tidemark.start();
    const pid = await tidemark.enginePid();
    await daemon.stop('SIGTERM');
    expect(daemon.child.exitCode).toBe(0);
    expect(isAlive(pid)).toBe(false);
    expect(daemon.output).toMatch(/SIGTERM: stopping\n.*stopped\n$/);
    for (const name of ['daemon.sock', 'main.sock', 'daemon.pid']) {
      expect(fs.existsSync(tidemark.runPath(name))).toBe(false);
    }
    await tidemark.start();
    expect((await tidemark.pool()).recovery.wasClean).toBe(true);
  });

  it('starts over the sockets and locks that killed processes left behind', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const daemon = await tidemark.start();
    const pid = await tidemark.enginePid();
    await daemon.stop('SIGKILL');
    process.kill(pid, 'SIGKILL');
    await until('the engine is gone', withinMs, () => !isAlive(pid));
    expect(fs.existsSync(tidemark.runPath('daemon.sock'))).toBe(true);
    expect(fs.existsSync(tidemark.runPath('main.sock'))).toBe(true);
    await tidemark.start();
    expect(await tidemark.enginePid()).not.toBe(pid);
    expect((await tidemark.cli('volume list')).code).toBe(0);
  });

  it('refuses a second daemon on the same folder and leaves the first alone', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const first = await tidemark.start();
    const second = tidemark.launch();
    await second.ended();
    expect(second.child.exitCode).toBe(1);
    expect(second.output).toMatch(
      new RegExp(`another tidemark daemon \\(process ${first.pid}\\) runs on .*\nhint: `),
    );
    expect((await tidemark.cli('pool status')).code).toBe(0);
  });

  it('leaves no engine behind when it cannot read its catalog, and starts when it can again', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await (await tidemark.start()).stop();
    const catalog = path.join(tidemark.folder, 'catalog.db');
    const kept = fs.readFileSync(catalog);
    fs.writeFileSync(catalog, 'no database'.repeat(1000));
    const daemon = tidemark.launch();
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    await until('no engine is there', withinMs, () => enginesOf(tidemark.folder).length === 0);
    fs.writeFileSync(catalog, kept);
    await tidemark.start();
    expect((await tidemark.cli('volume list')).stdout).toContain('lun0');
  });

  it('leaves no engine behind when it is told to stop while it starts', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await (await tidemark.start()).stop();
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const daemon = tidemark.launch();
      await until('an engine is there', withinMs, () => enginesOf(tidemark.folder).length > 0);
      await daemon.stop(signal);
      expect(daemon.child.exitCode).toBe(0);
      await until('no engine is there', withinMs, () => enginesOf(tidemark.folder).length === 0);
    }
    await tidemark.start();
    expect((await tidemark.cli('volume list')).stdout).toContain('lun0');
  });

  it('has one engine when it is killed while the engine starts, and started again at once', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    await (await tidemark.start()).stop();
    const daemon = tidemark.launch();
    await until('an engine is there', withinMs, () => enginesOf(tidemark.folder).length > 0);
    await daemon.stop('SIGKILL');
    await tidemark.start();
    const pid = await tidemark.enginePid();
    await until('one engine is there', withinMs, () => enginesOf(tidemark.folder).length === 1);
    expect(enginesOf(tidemark.folder)).toEqual([pid]);
  });

  it('refuses a port in use with a hint, and leaves no engine behind', async () => {
    await using tidemark = new DaemonUnderTest(entry);
    const blocker = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve));
    const address = blocker.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const daemon = tidemark.launch(['--nbd-port', String(port)]);
    await daemon.ended();
    blocker.close();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toMatch(new RegExp(`tidemark: .*${port}.*\nhint: `));
    await expect(tidemark.enginePid()).rejects.toMatchObject({ code: 'unavailable' });
  });
});

/** For the shell of libnbd, which Debian has for its own Python: overwrites 1,000 blocks in turn until the file ENOUGH is there, then reads what must be in each. */
const writeAndCheck = `
import os
count = 0
while not os.path.exists(os.environ['ENOUGH']):
    h.pwrite(bytes([count % 251]) * 4096, count % 1000 * 4096)
    count += 1
    if count % 100 == 0:
        print('writing', flush=True)
for last in range(max(0, count - 1000), count):
    assert h.pread(4096, last % 1000 * 4096) == bytes([last % 251]) * 4096
print('all there')
`;

describe('the daemon and the real engine', () => {
  it('keep a pool to one process: a second engine ends, and the daemon says who has the pool', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.real);
    await (await tidemark.start()).stop();
    const owner = new Background(process.execPath, [
      path.join(path.dirname(daemonEntries.real), 'engine/process.ts'),
      '--pool-dir',
      path.join(tidemark.folder, 'pools/main'),
      '--pool',
      'main',
      '--socket',
      path.join(tidemark.folder, 'other.sock'),
    ]);
    try {
      await until('the other engine has the pool', withinMs, () =>
        owner.output.includes('pool open'),
      );
      const daemon = tidemark.launch();
      await daemon.ended();
      expect(daemon.child.exitCode).toBe(1);
      expect(daemon.output).toMatch(/pool main is open in another process.*\nhint: /);
      expect(owner.isRunning).toBe(true);
    } finally {
      await owner.stop();
    }
  });

  it('say what is wrong with a pool that cannot be opened, and do not try again', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.real);
    await (await tidemark.start()).stop();
    const folder = path.join(tidemark.folder, 'pools/main');
    for (const name of fs.readdirSync(folder).filter((each) => each.startsWith('superblock'))) {
      fs.writeFileSync(path.join(folder, name), 'scribble');
    }
    const daemon = tidemark.launch();
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toMatch(/^tidemark: pool main cannot be opened: .*superblock.*\nhint: /);
  });

  it('can be killed under a client that writes, which notices nothing', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.real);
    const daemon = await tidemark.start();
    const uri = `nbd+unix:///lun0?socket=${tidemark.runPath('nbd.sock')}`;
    const enough = path.join(tidemark.folder, 'enough');
    const client = new Background(
      '/usr/bin/python3',
      ['-m', 'nbd', '-u', uri, '-c', writeAndCheck],
      {
        env: { ENOUGH: enough },
      },
    );
    try {
      await until('the client writes', withinMs, () => {
        if (!client.isRunning) throw new Error(`the client ended:\n${client.output}`);
        return client.output.includes('writing');
      });
      await daemon.stop('SIGKILL');
      await tidemark.start();
      const lineCount = client.output.split('writing').length;
      await until('the client goes on', withinMs, () => {
        return client.output.split('writing').length > lineCount + 3;
      });
      fs.writeFileSync(enough, '');
      await client.ended();
      expect(client.output).toContain('all there');
      expect(client.child.exitCode).toBe(0);
    } finally {
      await client.stop();
    }
  });
});

describe('the daemon', () => {
  it.each([
    ['an unknown flag', ['--nbdport', '1'], /--nbdport.*\nhint: npm start -- --help/],
    ['a port that is none', ['--nbd-port', '70000'], /70000 is not a port\nhint: /],
    [
      'a folder that cannot be',
      ['--data', '/dev/null/x'],
      /cannot use the folder \/dev\/null\/x.*\nhint: /,
    ],
    ['a path too long for a socket', ['--data', `/tmp/${'x'.repeat(100)}`], /107\nhint: .*shorter/],
  ])('refuses %s in one message with a hint', async (_what, args, message) => {
    await using tidemark = new DaemonUnderTest(daemonEntries.real);
    const daemon = tidemark.launch(args);
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toMatch(message);
    expect(daemon.output.trimEnd().split('\n')).toHaveLength(2);
  });

  it('explains its flags', async () => {
    const { stdout } = await run(process.execPath, [daemonEntries.real, '--help']);
    expect(stdout).toContain('TIDEMARK_NBD_SOCKET');
  });

  it('survives an engine that crashes a few times before it serves', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.fake);
    misbehave(tidemark, 'crash 3');
    const daemon = await tidemark.start();
    expect(daemon.output.match(/ended \(exit code 1\)/g)).toHaveLength(3);
    expect(daemon.output).toContain('engine: Error: the fake engine was told to crash');
  });

  it('gives up on an engine that always crashes, with its last words', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.fake);
    misbehave(tidemark, 'crash 100');
    const daemon = tidemark.launch();
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toMatch(
      /ended 5 times .*the fake engine was told to crash\nhint: .*main\.log/,
    );
  });

  it('does not try again when the pool is refused, and gives the reason', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.fake);
    misbehave(tidemark, 'refuse 1');
    const daemon = tidemark.launch();
    await daemon.ended();
    expect(daemon.child.exitCode).toBe(1);
    expect(daemon.output).toContain('tidemark: pool main cannot be opened: superblock: unknown');
    expect(tidemark.read('pools/main/behaviour')).toBe('refuse 0');
  });

  it('tells who asks why there is no engine', async () => {
    await using tidemark = new DaemonUnderTest(daemonEntries.fake);
    await tidemark.start();
    misbehave(tidemark, 'refuse 1');
    process.kill(await tidemark.enginePid(), 'SIGKILL');
    await until('the refusal is known', withinMs, async () => {
      const { code, stderr } = await tidemark.cli('pool status');
      return code === 1 && stderr.includes('cannot be opened: superblock: unknown flag');
    });
  });
});

/** Tells the engine without a store how to behave at its next starts. */
function misbehave(tidemark: DaemonUnderTest, what: string): void {
  const folder = path.join(tidemark.folder, 'pools/main');
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'behaviour'), what);
}
