/**
 * Views, clones, rollback and write-back through the command line and real clients: what an operator does with them,
 * and what the clients then see.
 */
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { Volume } from '../../src/contract/volume.ts';
import { isAlive } from '../support/appliance.ts';
import { DaemonUnderTest, daemonEntries } from '../support/daemon-under-test.ts';
import { hasPattern, type Stretch, writePattern } from '../support/disk-pattern.ts';
import { treeSummary, writeTree } from '../support/file-tree.ts';
import { describeWith } from '../support/interop.ts';
import { LoopDevice } from '../support/loop-device.ts';
import { matching } from '../support/matching.ts';
import { PatientClient } from '../support/patient-client.ts';
import { run, until } from '../support/run.ts';

const withinMs = 30_000;
const isRoot = process.getuid?.() === 0;

class Tidemark extends DaemonUnderTest {
  /** Clients that stay connected during the test's other writes and reads. */
  lasting = 0;

  constructor() {
    super(daemonEntries.real);
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.runPath('nbd.sock')}`;
  }

  /** Runs a command that must succeed. */
  async does(line: string): Promise<void> {
    await this.json(line);
  }

  /** Fills a volume or view through a client and returns when the engine has seen the client go. */
  async write(name: string, stretches: readonly Stretch[]): Promise<void> {
    await writePattern(this.uri(name), stretches);
    await this.#idle(name);
  }

  /** A volume of 4 MiB: ones when snapshot "mon" is taken of it, then twos in its first MiB. */
  async makeVolume(name: string, options = ''): Promise<void> {
    await this.does(`volume create ${name} --size 4M${options}`);
    await this.write(name, then);
    await this.does(`snapshot create ${name} mon`);
    await this.write(name, [{ byte: 2, offset: '0', length: '1M' }]);
  }

  async holds(name: string, stretches: readonly Stretch[]): Promise<boolean> {
    const isRight = await hasPattern(this.uri(name), stretches);
    await this.#idle(name);
    return isRight;
  }

  /** The engine notices a client's end a little later than the client; clients that stay are counted by `lasting`. */
  async #idle(name: string): Promise<void> {
    const [volume = ''] = name.split('@');
    await until(`nobody has ${name} open`, withinMs, async () => {
      const shown = (await this.json(`volume show ${volume}`)) as Volume;
      return shown.connectionCount <= this.lasting;
    });
  }

  /** SIGKILL to the engine; returns when the daemon has started the next one. */
  async killEngine(): Promise<void> {
    const pid = await this.enginePid();
    process.kill(pid, 'SIGKILL');
    await until('the next engine serves', withinMs, async () => {
      const next = await this.enginePid().catch(() => pid);
      if (next === pid || isAlive(pid)) return false;
      return (await this.cli('volume list')).code === 0;
    });
  }
}

const then: readonly Stretch[] = [{ byte: 1, offset: '0', length: '4M' }];
const now: readonly Stretch[] = [
  { byte: 2, offset: '0', length: '1M' },
  { byte: 1, offset: '1M', length: '3M' },
];

describeWith(['qemu-utils', 'libnbd-bin', 'python3-libnbd'], 'views', () => {
  it('are writable at once and independent of their source, of its snapshots and of each other', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    await tidemark.does('view create v --at snapshot:mon --name w');
    await tidemark.does('view create w --at now --name x');
    expect(await tidemark.holds('w', then)).toBe(true);
    expect(await tidemark.holds('x', then)).toBe(true);
    await tidemark.write('w', [{ byte: 3, offset: '3M', length: '1M' }]);
    await tidemark.write('x', [{ byte: 4, offset: '1M', length: '64k' }]);
    await tidemark.write('v', [{ byte: 5, offset: '2M', length: '4k' }]);

    const inW: Stretch[] = [
      { byte: 1, offset: '0', length: '3M' },
      { byte: 3, offset: '3M', length: '1M' },
    ];
    expect(await tidemark.holds('w', inW)).toBe(true);
    expect(await tidemark.holds('x', [{ byte: 4, offset: '1M', length: '64k' }])).toBe(true);
    expect(await tidemark.holds('x', [{ byte: 1, offset: '1088k', length: '2M' }])).toBe(true);
    expect(await tidemark.holds('v@mon', then)).toBe(true);
    expect(await tidemark.holds('v', [{ byte: 5, offset: '2M', length: '4k' }])).toBe(true);
    expect(await tidemark.holds('v', [{ byte: 1, offset: '3M', length: '1M' }])).toBe(true);

    await tidemark.killEngine();
    expect(await tidemark.holds('w', inW)).toBe(true);
    expect(await tidemark.holds('v@mon', then)).toBe(true);
    expect(await tidemark.json('pool rebuild')).toMatchObject({ result: { wasEqual: true } });
  });

  it('are exports of their own, described by what they show, and copied by nbdcopy', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    await tidemark.does('view create v --at snapshot:mon --name w');
    const { stdout } = await run('nbdinfo', ['--list', tidemark.uri('')]);
    expect(stdout).toMatch(/export="w":\n\tdescription: view of v at snapshot:mon, 4 MiB\n/);
    expect(stdout).toMatch(/export="v":\n\tdescription: volume, 4 MiB\n/);
    const copies = ['w', 'v@mon'].map((name) => path.join(tidemark.folder, name));
    for (const copy of copies) {
      await run('nbdcopy', [tidemark.uri(path.basename(copy)), copy]);
    }
    await run('cmp', copies);
    const info = await run('nbdinfo', ['--json', tidemark.uri('w')]);
    expect(JSON.parse(info.stdout)).toMatchObject({ exports: [{ is_read_only: false }] });
  });

  it('outlive the snapshot and the volume that they are of, also while a client has them open', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    await tidemark.does('view create v --at snapshot:mon --name w');
    await tidemark.does('view create v --at now --name x');
    await using client = await PatientClient.connect(tidemark.uri('w'));
    const before = await tidemark.json('view show w');
    await tidemark.does('view promote w');
    await tidemark.does('snapshot delete v mon');
    await tidemark.does('volume delete v --yes');
    expect(client.isConnected).toBe(true);
    tidemark.lasting = 1;
    expect(await tidemark.holds('w', then)).toBe(true);
    expect(await tidemark.holds('x', now)).toBe(true);
    // A LUN that is mounted must not change its identity.
    const { uuid, naa, serial } = before as Record<string, unknown>;
    expect(await tidemark.json('volume show w')).toMatchObject({
      kind: 'volume',
      ...{ uuid, naa, serial },
    });
    await tidemark.killEngine();
    expect(await tidemark.holds('w', then)).toBe(true);
    expect(await tidemark.holds('x', now)).toBe(true);
    expect((await tidemark.cli('view show x')).stdout).toContain('a deleted volume');
  });

  it('are refreshed under their own name once their clients may be cut off', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    await tidemark.does('view create v --at snapshot:mon --name w');
    await using client = await PatientClient.connect(tidemark.uri('w'));
    expect(await tidemark.cli('view refresh w --at now')).toMatchObject({
      code: 1,
      stderr: matching(/1 NBD connection.*\nhint: .*--disconnect/),
    });
    expect(client.isConnected).toBe(true);
    await tidemark.does('view refresh w --at now --disconnect');
    await client.cutOff();
    expect(await tidemark.holds('w', now)).toBe(true);
    expect(await tidemark.holds('v', now)).toBe(true);
  });
});

describeWith(['qemu-utils', 'libnbd-bin', 'python3-libnbd'], 'volumes', () => {
  it('are cloned without copying, each on its own from then on', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    const { usedBytes } = await tidemark.pool();
    await tidemark.does('volume clone v c');
    expect((await tidemark.pool()).usedBytes - usedBytes).toBeLessThan(1 << 20);
    await tidemark.write('c', [{ byte: 7, offset: '0', length: '4M' }]);
    expect(await tidemark.holds('v', now)).toBe(true);
    await tidemark.does('volume delete v --force');
    expect(await tidemark.holds('c', [{ byte: 7, offset: '0', length: '4M' }])).toBe(true);
    expect(await tidemark.json('volume list')).toMatchObject({
      volumes: [{ name: 'c' }, { name: 'lun0' }],
    });
  });

  it('are rolled back once their clients may be cut off, and forth again, and lose no snapshot', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v');
    await tidemark.does('snapshot create v tue');
    await tidemark.write('v', [{ byte: 9, offset: '0', length: '4M' }]);
    await using client = await PatientClient.connect(tidemark.uri('v'));
    const rollback = 'volume rollback v --to snapshot:mon --yes';
    expect(await tidemark.cli(rollback)).toMatchObject({
      code: 1,
      stderr: matching(/v is open on 1 NBD connection.*\nhint: .*--disconnect/),
    });
    expect(client.isConnected).toBe(true);
    await tidemark.does(`${rollback} --disconnect`);
    await client.cutOff();
    expect(await tidemark.holds('v', then)).toBe(true);
    expect(await tidemark.holds('v@tue', now)).toBe(true);
    await tidemark.killEngine();
    expect(await tidemark.holds('v', then)).toBe(true);
    await tidemark.does('volume rollback v --undo --yes');
    expect(await tidemark.holds('v', [{ byte: 9, offset: '0', length: '4M' }])).toBe(true);
    await tidemark.does('volume rollback v --to snapshot:tue --yes');
    expect(await tidemark.holds('v', now)).toBe(true);
    expect(await tidemark.json('volume history v')).toMatchObject({
      lines: [
        { reason: 'created', snapshots: ['mon', 'tue'] },
        { reason: 'rollback', label: 'snapshot:mon' },
        { reason: 'undo' },
        { reason: 'rollback', label: 'snapshot:tue' },
      ],
    });
  });

  it('with write-back lose nothing when the engine is killed, flushed or not', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.makeVolume('v', ' --ack write-back');
    expect((await tidemark.cli('volume show v')).stdout).toContain('since the guest');
    await tidemark.write('v', [{ byte: 6, offset: '0', length: '1M' }]);
    // Answered, not flushed, and the connection is still open when the engine dies.
    const unflushed = 'h.pwrite(bytes([8]) * 1048576, 2097152)';
    await using client = await PatientClient.connect(tidemark.uri('v'), unflushed);
    await tidemark.killEngine();
    await client.cutOff();
    const expected: Stretch[] = [
      { byte: 6, offset: '0', length: '1M' },
      { byte: 1, offset: '1M', length: '1M' },
      { byte: 8, offset: '2M', length: '1M' },
      { byte: 1, offset: '3M', length: '1M' },
    ];
    expect(await tidemark.holds('v', expected)).toBe(true);
    expect(await tidemark.json('volume show v')).toMatchObject({ ack: 'write-back' });
    await tidemark.does('volume set v --ack durable');
    expect(await tidemark.holds('v', expected)).toBe(true);
  });
});

describeWith(['libnbd-bin', 'fuse3', 'mount', 'e2fsprogs'], 'views of a file system', () => {
  const title = isRoot ? it : it.skip;

  title('are mounted two at once while their source is mounted and written', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.does('volume create fs --size 256M');
    await using stack = new AsyncDisposableStack();
    const mount = async (name: string): Promise<string> => {
      const folder = path.join(tidemark.folder, `fuse-${name}`);
      const device = await LoopDevice.attach(tidemark.uri(name), folder, false);
      stack.defer(async () => {
        await device.detach();
      });
      if (name === 'fs') await run('/sbin/mkfs.ext4', ['-q', '-F', device.device]);
      return await device.mount('noatime');
    };
    const source = await mount('fs');
    writeTree(path.join(source, 'first'), 40);
    const summary = treeSummary(source);
    // Held still for the snapshot, as an agent in the guest would.
    await run('fsfreeze', ['--freeze', source]);
    const { code } = await tidemark.cli('snapshot create fs quiet');
    await run('fsfreeze', ['--unfreeze', source]);
    expect(code).toBe(0);
    writeTree(path.join(source, 'second'), 20);
    await tidemark.does('view create fs --at snapshot:quiet --name left');
    await tidemark.does('view create fs --at snapshot:quiet --name right');

    const left = await mount('left');
    const right = await mount('right');
    expect(treeSummary(left)).toEqual(summary);
    expect(treeSummary(right)).toEqual(summary);
    fs.rmSync(path.join(left, 'first'), { recursive: true });
    writeTree(path.join(right, 'own'), 20);
    writeTree(path.join(source, 'third'), 20);
    for (const each of [source, left, right]) await run('sync', ['-f', each]);
    expect(treeSummary(left)).toEqual([]);
    expect(treeSummary(right).filter((line) => line.startsWith('first'))).toEqual(
      summary.filter((line) => line.startsWith('first')),
    );
    expect(fs.readdirSync(source).sort()).toEqual(['first', 'lost+found', 'second', 'third']);
    expect(treeSummary(path.join(source, 'first'))).toEqual(treeSummary(path.join(right, 'first')));
    await stack.disposeAsync();

    for (const name of ['fs', 'left', 'right']) {
      await using checked = new AsyncDisposableStack();
      const folder = path.join(tidemark.folder, `check-${name}`);
      const device = await LoopDevice.attach(tidemark.uri(name), folder, false);
      checked.defer(async () => {
        await device.detach();
      });
      await run('/sbin/e2fsck', ['-f', '-n', device.device]);
    }
  });
});
