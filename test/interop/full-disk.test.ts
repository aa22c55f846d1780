/**
 * A file system without space under the pool: writes are refused with ENOSPC and nothing else suffers; the pool opens without
 * a free block; writes are taken again when space is back. One that others fill up: the pool makes room before it is full.
 * Needs root for a small file system on a loop device.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { describeWith } from '../support/interop.ts';
import { run, tryRun, until } from '../support/run.ts';

const step = 64;
const stepsMax = 10;
let appliance: Appliance | undefined;
let folder = '';

/** A file system of so many MiB, mounted, with a ballast that can be removed. */
async function smallFileSystem(imageMiB: number, ballastMiB: number): Promise<string> {
  folder = fs.mkdtempSync('/tmp/tidemark-full-');
  const image = path.join(folder, 'image');
  const mountPoint = path.join(folder, 'mnt');
  fs.mkdirSync(mountPoint);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, imageMiB * 2 ** 20);
  await run('/sbin/mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  await run('mount', ['-o', 'loop', image, mountPoint]);
  await take(path.join(mountPoint, 'ballast'), ballastMiB * 2 ** 20);
  return mountPoint;
}

/** Runs qemu-io commands on lun0 and returns what it said. */
async function io(...commands: readonly string[]): Promise<string> {
  const uri = appliance?.uri('lun0') ?? '';
  const args = commands.flatMap((command) => ['-c', command]);
  const { stdout, stderr } = await tryRun('qemu-io', ['-f', 'raw', uri, ...args]);
  return stdout + stderr;
}

/** Another program makes a file of that size. */
async function take(file: string, bytes: number): Promise<void> {
  await run('fallocate', ['-l', String(Math.floor(bytes)), file]);
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
    const mountPoint = await smallFileSystem(480, 160);
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

  it('that others fill up has the pool make room before it is full, and is used again when they are gone', async () => {
    const mountPoint = await smallFileSystem(3072, 1);
    appliance = await Appliance.start({
      folder: path.join(mountPoint, 'a'),
      args: ['--pool-size', '10G'],
    });
    const enginePid = await appliance.enginePid();
    await appliance.api('POST', '/v1/volumes/lun0/set', { cdpWindow: '0' });
    await appliance.snapshotCreate('lun0', 'empty');
    // Two thirds of what is written is overwritten: garbage.
    for (const pattern of [1, 2, 3]) {
      expect(await io(`write -P ${pattern} 0 ${4 * step}M`)).not.toMatch(/failed|error|No space/i);
    }
    const before = await appliance.pool();
    expect(before.effectiveCapacityBytes).toBeLessThan(3 * 2 ** 30);
    expect(before.cleaner.pressure).toBe('none');
    expect(before.relief.map((event) => event.step)).toEqual(['file-system']);

    // Between the limits of so small a pool (79 and 88 %), also when a file that is being made is in no count.
    const takenBytes = before.effectiveCapacityBytes - before.usedBytes / 0.83;
    await take(path.join(mountPoint, 'others'), takenBytes);
    await until('the pool is short', 30_000, async () => {
      const pool = await appliance?.pool();
      return pool?.relief.some((event) => event.step === 'cleaner') === true;
    });
    const { program, args } = appliance.cliArgs(['pool', 'status']);
    const { stdout } = await run(program, args);
    expect(stdout).toMatch(/capacity +10 GiB, effectively .*: the file system has .* free/);
    expect(await io(`write -P 4 ${4 * step}M 4M`)).not.toMatch(/failed|error|No space/i);
    await until('there is room', 90_000, async () => {
      const pool = await appliance?.pool();
      return pool !== undefined && pool.usedBytes < pool.softLimitBytes * 0.8;
    });
    const cleaned = await appliance.pool();
    expect(cleaned.cleaner.reclaimedBytes).toBeGreaterThan(step << 20);
    expect(cleaned.fullReason).toBeUndefined();
    expect(await io(`write -P 5 ${5 * step}M 8M`)).not.toMatch(/failed|error|No space/i);

    await fillUp(path.join(mountPoint, 'rest'));
    // Files that it has made ahead take data still.
    let said = '';
    for (let index = 0; index < stepsMax && !said.includes('No space left'); index += 1) {
      said = await io(`write -P 6 ${(6 + index) * step}M ${step}M`);
    }
    expect(said).toContain('No space left');
    expect((await appliance.pool()).fullReason).toContain('the file system has only');
    await appliance.api('DELETE', '/v1/volumes/lun0/snapshots/empty');
    expect(await io(`read -P 3 0 ${4 * step}M`)).not.toMatch(/failed|error/i);

    fs.rmSync(path.join(mountPoint, 'rest'));
    fs.rmSync(path.join(mountPoint, 'others'));
    await until('the pool takes writes', 30_000, async () => {
      return (await appliance?.pool())?.fullReason === undefined;
    });
    expect(await io(`write -P 7 0 ${step}M`)).not.toMatch(/failed|error|No space/i);
    const reads = [`read -P 7 0 ${step}M`, `read -P 3 ${step}M ${3 * step}M`];
    reads.push(`read -P 4 ${4 * step}M 4M`, `read -P 5 ${5 * step}M 8M`);
    expect(await io(...reads)).not.toMatch(/failed|error/i);
    expect(await appliance.enginePid()).toBe(enginePid);
  }, 240_000);
});
