/**
 * A file system without space under the pool: writes are refused with ENOSPC and nothing else suffers; the pool opens without
 * a free block; writes are taken again when space is back. Needs root for a small file system on a loop device.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { describeWith } from '../support/interop.ts';
import { run, tryRun, until } from '../support/run.ts';

const imageMiB = 480;
const step = 64;
const stepsMax = 10;
let appliance: Appliance | undefined;
let folder = '';

/** A file system of `imageMiB` MiB, mounted, with a ballast that can be removed. */
async function smallFileSystem(): Promise<string> {
  folder = fs.mkdtempSync('/tmp/tidemark-full-');
  const image = path.join(folder, 'image');
  const mountPoint = path.join(folder, 'mnt');
  fs.mkdirSync(mountPoint);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, imageMiB << 20);
  await run('/sbin/mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  await run('mount', ['-o', 'loop', image, mountPoint]);
  fs.writeFileSync(path.join(mountPoint, 'ballast'), Buffer.alloc(160 << 20));
  return mountPoint;
}

/** Runs qemu-io commands on lun0 and returns what it said. */
async function io(...commands: readonly string[]): Promise<string> {
  const uri = appliance?.uri('lun0') ?? '';
  const args = commands.flatMap((command) => ['-c', command]);
  const { stdout, stderr } = await tryRun('qemu-io', ['-f', 'raw', uri, ...args]);
  return stdout + stderr;
}

/** Fills everything that is left, as another program on the same disk might. */
async function fillUp(file: string): Promise<void> {
  await tryRun('dd', ['if=/dev/zero', `of=${file}`, 'bs=1M']);
}

afterEach(async () => {
  await appliance?.remove();
  appliance = undefined;
  await tryRun('umount', [path.join(folder, 'mnt')]);
  fs.rmSync(folder, { recursive: true, force: true });
});

describeWith(['qemu-utils', 'mount', 'e2fsprogs'], 'a full file system', () => {
  it('refuses writes, keeps reads, trims, snapshots and restarts, and recovers', async () => {
    const mountPoint = await smallFileSystem();
    appliance = await Appliance.start({
      folder: path.join(mountPoint, 'a'),
      args: ['--pool-size', '10G'],
    });
    let written = 0;
    let said = '';
    while (written < stepsMax && !said.includes('No space left')) {
      said = await io(`write -P ${written + 1} ${written * step}M ${step}M`);
      if (!said.includes('No space left')) written += 1;
    }
    expect(said).toContain('No space left on device');
    expect(written).toBeGreaterThan(0);
    const read = `read -P 1 0 ${step}M`;
    expect(await io(read)).not.toMatch(/failed|error/i);
    await appliance.api('POST', '/v1/volumes/lun0/snapshots', { name: 'while-full' });
    expect(await io('discard 0 1M', 'read -P 0 0 1M')).not.toMatch(/failed|error/i);

    await fillUp(path.join(mountPoint, 'fill'));
    const pid = await appliance.enginePid();
    await appliance.killEngine(pid);
    await until('another engine serves', 30_000, async () => {
      const now = await appliance?.enginePid().catch(() => pid);
      return now !== undefined && now !== pid;
    });
    await appliance.ready();
    expect(await io(`read -P 1 1M ${step - 1}M`, 'read -P 0 0 1M')).not.toMatch(/failed|error/i);
    expect((await appliance.pool()).snapshotCount).toBe(1);

    fs.rmSync(path.join(mountPoint, 'fill'), { force: true });
    fs.rmSync(path.join(mountPoint, 'ballast'));
    await until('the pool takes writes', 30_000, async () => {
      const pool = await appliance?.pool();
      return pool !== undefined && pool.fullReason === undefined;
    });
    expect(await io('write -P 9 0 4k', 'read -P 9 0 4k')).not.toMatch(/failed|error|No space/i);
  }, 180_000);
});
