/** Real NBD clients against a real appliance: what they list, copy and compare must be right to the byte. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { describeWith } from '../support/interop.ts';
import { run, tryRun } from '../support/run.ts';

const mebi = 1 << 20;

interface NbdExport {
  readonly 'export-name': string;
  readonly 'export-size': number;
  readonly is_read_only: boolean;
  readonly can_flush: boolean;
  readonly can_fua: boolean;
  readonly contexts: readonly string[];
}

interface MapEntry {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

async function exportsOf(args: readonly string[]): Promise<readonly NbdExport[]> {
  const { stdout } = await run('nbdinfo', ['--json', ...args]);
  // nbdinfo's documented JSON.
  return (JSON.parse(stdout) as { exports: readonly NbdExport[] }).exports;
}

async function mapOf(uri: string): Promise<readonly MapEntry[]> {
  const { stdout } = await run('nbdinfo', ['--map', '--json', uri]);
  // nbdinfo's documented JSON.
  return JSON.parse(stdout) as readonly MapEntry[];
}

describeWith(
  ['libnbd-bin', 'nbdkit', 'qemu-utils', 'e2fsprogs', 'fio', 'nbd-client'],
  'real NBD clients',
  () => {
    let appliance: Appliance;
    let folder: string;

    beforeAll(async () => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-clients-'));
      appliance = await Appliance.start();
    });

    afterAll(async () => {
      await appliance.remove();
      fs.rmSync(folder, { recursive: true, force: true });
    });

    /** A qcow2 image with a file system in it, built from a tree of files without being root. */
    async function makeImage(): Promise<string> {
      const tree = path.join(folder, 'tree');
      const raw = path.join(folder, 'disk.raw');
      const image = path.join(folder, 'disk.qcow2');
      fs.mkdirSync(path.join(tree, 'etc'), { recursive: true });
      fs.writeFileSync(path.join(tree, 'etc/hostname'), 'guest\n');
      await run('dd', [
        'if=/dev/urandom',
        `of=${tree}/payload`,
        'bs=1M',
        'count=48',
        'status=none',
      ]);
      await run('truncate', ['-s', '256M', raw]);
      await run('/sbin/mke2fs', ['-q', '-t', 'ext4', '-d', tree, raw]);
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
      return image;
    }

    it('nbdinfo sees a new volume: its size, its abilities, and one hole', async () => {
      await appliance.volumeCreate('fresh', 64 * mebi);
      const [found] = await exportsOf([appliance.uri('fresh')]);
      expect(found?.['export-size']).toBe(64 * mebi);
      expect(found?.is_read_only).toBe(false);
      expect(found?.can_flush).toBe(true);
      expect(found?.can_fua).toBe(true);
      expect(found?.contexts).toEqual(['base:allocation']);
      expect(await mapOf(appliance.uri('fresh'))).toMatchObject([
        { offset: 0, length: 64 * mebi, type: 3 },
      ]);
    });

    it('nbdinfo and nbd-client list every volume and every snapshot', async () => {
      await appliance.volumeCreate('listed', mebi);
      await appliance.snapshotCreate('listed', 'before');
      const listed = await exportsOf(['--list', appliance.uri('')]);
      const names = listed.map((each) => each['export-name']);
      expect(names).toContain('listed');
      expect(names).toContain('listed@before');
      const { port } = new URL(await appliance.tcpUri(''));
      const { stdout } = await run('/usr/sbin/nbd-client', ['-l', '127.0.0.1', port]);
      expect(stdout).toContain('listed@before');
    });

    it('a snapshot is read-only to clients, and keeps its bytes while the volume changes', async () => {
      await appliance.volumeCreate('kept', 8 * mebi);
      const uri = appliance.uri('kept');
      await run('qemu-io', ['-f', 'raw', '-c', 'write -P 0x11 0 8M', uri]);
      await appliance.snapshotCreate('kept', 'first');
      await run('qemu-io', ['-f', 'raw', '-c', 'write -P 0x22 1M 4M', '-c', 'discard 6M 1M', uri]);
      const snapshot = appliance.uri('kept@first');
      await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0x11 0 8M', snapshot]);
      const checks = [
        'read -P 0x11 0 1M',
        'read -P 0x22 1M 4M',
        'read -P 0 6M 1M',
        'read -P 0x11 7M 1M',
      ];
      const now = await run('qemu-io', [
        '-f',
        'raw',
        ...checks.flatMap((each) => ['-c', each]),
        uri,
      ]);
      expect(now.stdout).not.toContain('Pattern verification failed');
      const write = await tryRun('nbdsh', ['-u', snapshot, '-c', 'h.pwrite(b"x" * 4096, 0)']);
      expect(write.code).not.toBe(0);
      const [found] = await exportsOf([snapshot]);
      expect(found?.is_read_only).toBe(true);
    });

    it('a map shows data where it was written and holes elsewhere', async () => {
      await appliance.volumeCreate('mapped', 16 * mebi);
      const uri = appliance.uri('mapped');
      await run('qemu-io', [
        '-f',
        'raw',
        '-c',
        'write -P 1 4M 2M',
        '-c',
        'write -z -u 5M 512k',
        uri,
      ]);
      const map = (await mapOf(uri)).map((each) => [
        each.offset / mebi,
        each.length / mebi,
        each.type,
      ]);
      expect(map).toEqual([
        [0, 4, 3],
        [4, 1, 0],
        [5, 0.5, 3],
        [5.5, 0.5, 0],
        [6, 10, 3],
      ]);
    });

    it('qemu-img converts a qcow2 with a file system in, out again, and compares equal', async () => {
      const image = await makeImage();
      await appliance.volumeCreate('guest', 256 * mebi);
      const uri = appliance.uri('guest');
      await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', image, uri]);
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, uri]);
      await appliance.snapshotCreate('guest', 'imported');
      await run('qemu-io', ['-f', 'raw', '-c', 'write -P 0xff 10M 20M', uri]);
      const changed = await tryRun('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, uri]);
      expect(changed.code).toBe(1);
      const out = path.join(folder, 'out.qcow2');
      const snapshot = appliance.uri('guest@imported');
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', snapshot, out]);
      await run('qemu-img', ['compare', image, out]);
      await run('qemu-img', ['check', out]);
      // The holes came through: the copy holds the 48 MiB of payload, not the 256 MiB of the disk.
      expect(fs.statSync(out).size).toBeLessThan(64 * mebi);
      const fileSystem = path.join(folder, 'out.raw');
      await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', out, fileSystem]);
      await run('/sbin/e2fsck', ['-fn', fileSystem]);
    });

    it('nbdcopy copies in and out, the same bytes come back, over both sockets', async () => {
      const source = path.join(folder, 'random.raw');
      await run('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', 'count=64', 'status=none']);
      await appliance.volumeCreate('copied', 64 * mebi);
      await run('nbdcopy', ['--flush', source, appliance.uri('copied')]);
      for (const uri of [appliance.uri('copied'), await appliance.tcpUri('copied')]) {
        const back = path.join(folder, 'back.raw');
        await run('nbdcopy', [uri, back]);
        await run('cmp', [source, back]);
        fs.rmSync(back);
      }
    });

    it('nbdcopy moves sparse data in and out, checked by nbdkit at both ends', async () => {
      const plugin = ['sparse-random', 'size=1G', 'seed=7', 'percent=5', 'runlength=262144'];
      const generator = ['[', 'nbdkit', '--exit-with-parent', ...plugin, ']'];
      await appliance.volumeCreate('sparse', 1 << 30);
      const uri = appliance.uri('sparse');
      await run('nbdcopy', ['--', ...generator, uri]);
      // sparse-random accepts a write only when it is what it would have produced itself.
      await run('nbdcopy', ['--', uri, ...generator]);
      const holes = (await mapOf(uri)).filter((each) => each.type === 3);
      const holeBytes = holes.reduce((sum, each) => sum + each.length, 0);
      expect(holeBytes).toBeGreaterThan(800 * mebi);
    });

    it('nbdcopy out agrees with the source block by block (checkwrite)', async () => {
      const source = path.join(folder, 'checked.raw');
      await run('truncate', ['-s', '64M', source]);
      await run('dd', [
        'if=/dev/urandom',
        `of=${source}`,
        'bs=1M',
        'count=20',
        'seek=9',
        'conv=notrunc',
        'status=none',
      ]);
      await appliance.volumeCreate('checked', 64 * mebi);
      await run('nbdcopy', [source, appliance.uri('checked')]);
      const checker = [
        '[',
        'nbdkit',
        '--exit-with-parent',
        '--filter=checkwrite',
        'file',
        source,
        ']',
      ];
      await run('nbdcopy', ['--', appliance.uri('checked'), ...checker]);
    });

    it('fio writes with checksums at random and verifies every block', async () => {
      await appliance.volumeCreate('verified', 128 * mebi);
      for (const size of ['4k', '512-64k']) {
        const args = [
          '--rw=randwrite',
          `--${size.includes('-') ? 'bsrange' : 'bs'}=${size}`,
          '--iodepth=32',
        ];
        const bounds = ['--size=128M', '--io_size=64M', '--verify=crc32c', '--verify_fatal=1'];
        const job = ['--name=verify', '--ioengine=nbd', `--uri=${appliance.uri('verified')}`];
        // fio leaves a file about its verification where it runs.
        const { stdout } = await run('fio', [...job, ...args, ...bounds], { cwd: folder });
        // A block whose checksum is wrong ends fio with an error, which `run` throws.
        expect(stdout).toMatch(/READ:/);
      }
    });
  },
);
