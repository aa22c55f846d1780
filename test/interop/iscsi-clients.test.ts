/** Clients with libiscsi inside (QEMU's tools, libiscsi's own) against a real appliance, checked to the byte. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hasPattern, writePattern } from '../support/disk-pattern.ts';
import { describeWith } from '../support/interop.ts';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { run, tryRun } from '../support/run.ts';

const mebi = 1 << 20;

describeWith(
  ['libiscsi-bin', 'qemu-block-extra', 'qemu-utils', 'libnbd-bin', 'e2fsprogs'],
  'clients with libiscsi',
  () => {
    let target: IscsiAppliance;
    let folder: string;

    beforeAll(async () => {
      folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-iscsi-'));
      target = await IscsiAppliance.start();
    });

    afterAll(async () => {
      await target.remove();
      fs.rmSync(folder, { recursive: true, force: true });
    });

    async function makeLun(volume: string, sizeBytes: number): Promise<string> {
      await target.appliance.volumeCreate(volume, sizeBytes);
      return target.url(await target.lunMap(volume));
    }

    /** A qcow2 image with a file system in it, built from a tree of files without being root. */
    async function makeImage(): Promise<string> {
      const tree = path.join(folder, 'tree');
      const raw = path.join(folder, 'disk.raw');
      const image = path.join(folder, 'disk.qcow2');
      fs.mkdirSync(tree);
      const payload = path.join(tree, 'payload');
      await run('dd', ['if=/dev/urandom', `of=${payload}`, 'bs=1M', 'count=48', 'status=none']);
      await run('truncate', ['-s', '256M', raw]);
      await run('/sbin/mke2fs', ['-q', '-t', 'ext4', '-d', tree, raw]);
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, image]);
      return image;
    }

    it('qemu-img converts a qcow2 with a file system in, out again, and compares equal', async () => {
      const image = await makeImage();
      const url = await makeLun('guest', 256 * mebi);
      await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', image, url]);
      await run('qemu-img', ['compare', '-f', 'qcow2', '-F', 'raw', image, url]);
      const out = path.join(folder, 'out.qcow2');
      await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', url, out]);
      await run('qemu-img', ['compare', image, out]);
      // GET LBA STATUS told qemu-img of the holes: the copy holds the payload, not the whole disk.
      expect(fs.statSync(out).size).toBeLessThan(64 * mebi);
      const raw = path.join(folder, 'out.raw');
      await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', out, raw]);
      await run('/sbin/e2fsck', ['-fn', raw]);
    });

    it('what is written over iSCSI is read over NBD, and the other way round', async () => {
      const url = await makeLun('both', 64 * mebi);
      const nbd = target.appliance.uri('both');
      await writePattern(url, [{ byte: 0x11, offset: '0', length: '8M' }]);
      expect(await hasPattern(nbd, [{ byte: 0x11, offset: '0', length: '8M' }])).toBe(true);
      await writePattern(nbd, [{ byte: 0x22, offset: '4M', length: '8M' }]);
      const both = [
        { byte: 0x11, offset: '0', length: '4M' },
        { byte: 0x22, offset: '4M', length: '8M' },
      ];
      expect(await hasPattern(url, both)).toBe(true);
      expect(await hasPattern(url, [{ byte: 0x33, offset: '0', length: '4k' }])).toBe(false);
    });

    it('discard and write zeroes make holes that read as zeros', async () => {
      const url = await makeLun('holes', 64 * mebi);
      await writePattern(url, [{ byte: 0x44, offset: '0', length: '16M' }]);
      const commands = ['discard 4M 4M', 'write -z -u 10M 2M', 'write -z 14M 1M', 'flush'];
      await run('qemu-io', ['-f', 'raw', ...commands.flatMap((each) => ['-c', each]), url]);
      const expected = [
        { byte: 0x44, offset: '0', length: '4M' },
        { byte: 0, offset: '4M', length: '4M' },
        { byte: 0x44, offset: '8M', length: '2M' },
        { byte: 0, offset: '10M', length: '2M' },
        { byte: 0x44, offset: '12M', length: '2M' },
        { byte: 0, offset: '14M', length: '1M' },
        { byte: 0x44, offset: '15M', length: '1M' },
      ];
      expect(await hasPattern(url, expected)).toBe(true);
      const { stdout } = await run('qemu-img', ['map', '--output=json', '-f', 'raw', url]);
      // qemu-img's documented JSON.
      const map = JSON.parse(stdout) as readonly { start: number; zero: boolean; data: boolean }[];
      expect(map.find((each) => each.start === 4 * mebi)).toMatchObject({ zero: true });
    });

    it('a write that is not whole blocks of 4 KiB changes exactly its sectors', async () => {
      const url = await makeLun('sectors', 8 * mebi);
      await writePattern(url, [{ byte: 0x55, offset: '0', length: '1M' }]);
      await writePattern(url, [{ byte: 0x66, offset: '512', length: '5120' }]);
      const expected = [
        { byte: 0x55, offset: '0', length: '512' },
        { byte: 0x66, offset: '512', length: '5120' },
        { byte: 0x55, offset: '5632', length: '8k' },
      ];
      expect(await hasPattern(url, expected)).toBe(true);
    });

    it('a read-only mapping can be read, and refuses writes', async () => {
      const { appliance } = target;
      await appliance.volumeCreate('protected', 8 * mebi);
      await writePattern(appliance.uri('protected'), [{ byte: 7, offset: '0', length: '1M' }]);
      const url = target.url(await target.lunMap('protected', { isReadOnly: true }));
      expect(await hasPattern(url, [{ byte: 7, offset: '0', length: '1M' }])).toBe(true);
      const write = await tryRun('qemu-io', ['-f', 'raw', '-c', 'write -P 1 0 4k', url]);
      expect(`${write.stdout}${write.stderr}`).toMatch(/read-only|write.protect|failed/i);
      expect(await hasPattern(url, [{ byte: 7, offset: '0', length: '1M' }])).toBe(true);
    });

    it("libiscsi's own programs find the target, its LUNs and their sizes", async () => {
      const url = await makeLun('listed', 32 * mebi);
      const lun = /\d+$/.exec(url)?.[0] ?? '';
      const { stdout: list } = await run('iscsi-ls', [
        '-s',
        `iscsi://127.0.0.1:${target.ports[0]}`,
      ]);
      expect(list).toContain(`Target:${target.targetName}`);
      expect(list).toMatch(new RegExp(`^Lun:${lun} .*\\(Size:31M\\)`, 'm'));
      for (const port of target.ports) expect(list).toContain(`127.0.0.1:${port},`);
      const { stdout: inquiry } = await run('iscsi-inq', [url]);
      expect(inquiry).toContain('Vendor:TIDEMARK');
      const { stdout: pages } = await run('iscsi-inq', ['-e', '1', '-c', '0', url]);
      expect(pages).toMatch(/Page:0x80 UNIT_SERIAL_NUMBER/);
      const { stdout: capacity } = await run('iscsi-readcapacity16', [url]);
      expect(capacity).toContain('Total size:33554432');
    });

    it('iscsi-perf reads with 32 requests at a time and sees no error', async () => {
      const url = await makeLun('perf', 64 * mebi);
      await writePattern(url, [{ byte: 1, offset: '0', length: '64M' }]);
      const { stdout } = await run('iscsi-perf', ['-m', '32', '-b', '8', '-r', '-t', '1', url]);
      expect(Number(/iops average (\d+)/.exec(stdout)?.[1])).toBeGreaterThan(0);
    });
  },
);
