/** Incremental backups by real clients: a full copy, then increments that read nothing but what the bitmap names. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SeededRandom } from '../sim/random.ts';
import { Appliance } from '../support/appliance.ts';
import { debianPython, describeWith } from '../support/interop.ts';
import { run, tryRun } from '../support/run.ts';

const blockBytes = 4096;
const volumeBytes = 192 * 2 ** 20;
const rounds = 6;
const reader = path.join(import.meta.dirname, 'incremental-backup.py');

describeWith(['libnbd-bin', 'python3-libnbd', 'qemu-utils'], 'incremental backups', () => {
  let appliance: Appliance;
  let folder: string;
  const random = new SeededRandom(7);

  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-incremental-'));
    appliance = await Appliance.start();
    await appliance.api('POST', '/v1/volumes', { name: 'disk', sizeBytes: volumeBytes });
  });

  afterAll(async () => {
    await appliance.remove();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  /** Random writes, trims and zeros, small and large, aligned and not. */
  async function change(count: number): Promise<void> {
    const commands = Array.from({ length: count }, () => {
      const blocks = random.chance(0.8) ? random.between(1, 16) : random.between(200, 2000);
      const first = random.below(volumeBytes / blockBytes - blocks);
      const range = `${first * blockBytes} ${blocks * blockBytes}`;
      const byte = random.between(1, 255);
      return random.pick([
        `write -P ${byte} ${range}`,
        `write -P ${byte} ${first * blockBytes + 512} 1024`,
        `discard ${range}`,
        `write -z ${range}`,
        `write -z -u ${range}`,
      ]);
    });
    const args = commands.flatMap((command) => ['-c', command]);
    await run('qemu-io', ['-f', 'raw', ...args, appliance.uri('disk')]);
  }

  async function snapshot(name: string): Promise<number> {
    const made = await appliance.api('POST', '/v1/volumes/disk/snapshots', { name });
    return (made as { position: number }).position;
  }

  /** Brings `file` from one moment to another with what the bitmap names; returns the bytes that changed. */
  async function increment(file: string, since: string, to: string): Promise<number> {
    const bitmap = `qemu:dirty-bitmap:${since.replaceAll(':', '-')}`;
    const uri = appliance.uri(`disk@${to}+since=${since}`);
    const { stdout } = await run(debianPython, [reader, uri, bitmap, file]);
    return Number(stdout);
  }

  async function requireEqual(file: string, snapshotName: string): Promise<void> {
    const full = path.join(folder, 'full');
    fs.rmSync(full, { force: true });
    await run('nbdcopy', [appliance.uri(`disk@${snapshotName}`), full]);
    expect(Buffer.compare(fs.readFileSync(file), fs.readFileSync(full))).toBe(0);
  }

  it('equal full copies, round after round', async () => {
    const file = path.join(folder, 'backup');
    await change(40);
    let since = 'round0';
    await snapshot(since);
    await run('nbdcopy', [appliance.uri(`disk@${since}`), file]);
    for (let round = 1; round <= rounds; round += 1) {
      const name = `round${round}`;
      if (round === 3) {
        // Over a rollback the maps are compared, not the log.
        const to = 'snapshot:round1';
        await appliance.api('POST', '/v1/volumes/disk/rollback', { to, disconnect: true });
      }
      await change(random.between(1, 30));
      await snapshot(name);
      const changed = await increment(file, since, name);
      expect(changed).toBeGreaterThan(0);
      expect(changed).toBeLessThan(volumeBytes / 2);
      await requireEqual(file, name);
      since = name;
    }
  });

  it('go back as they go forward, and between moments that nobody named then', async () => {
    const file = path.join(folder, 'backup');
    const { stdout } = await run('nbdinfo', ['--json', appliance.uri('disk@round1')]);
    expect(stdout).toContain('"is_read_only": true');
    await increment(file, `round${rounds}`, 'round1');
    await requireEqual(file, 'round1');
    const list = await appliance.api('GET', '/v1/volumes/disk/snapshots');
    const positionOf = (name: string): string => {
      const { snapshots } = list as { snapshots: { name: string; position: number }[] };
      return `position:${snapshots.find((each) => each.name === name)?.position ?? 0}`;
    };
    await increment(file, positionOf('round1'), positionOf('round2'));
    await requireEqual(file, 'round2');
  });

  it('are described to nbdinfo and qemu-img in the same words', async () => {
    const uri = appliance.uri('disk@round2+since=round1');
    const context = 'qemu:dirty-bitmap:round1';
    const { stdout: json } = await run('nbdinfo', ['--json', uri]);
    // nbdinfo's documented JSON.
    const [shown] = (JSON.parse(json) as { exports: { contexts: string[] }[] }).exports;
    expect(shown?.contexts).toEqual(['base:allocation', context]);
    const { stdout: map } = await run('nbdinfo', ['--json', `--map=${context}`, uri]);
    const dirty = (JSON.parse(map) as { offset: number; length: number; type: number }[])
      .filter(({ type }) => type === 1)
      .map(({ offset, length }) => ({ offset, length }));
    const image = [
      'driver=nbd',
      'server.type=unix',
      `server.path=${appliance.nbdSocket}`,
      'export=disk@round2+since=round1',
      `x-dirty-bitmap=${context}`,
    ].join(',');
    const { stdout: qemu } = await run('qemu-img', ['map', '--output=json', '--image-opts', image]);
    // With x-dirty-bitmap, what is dirty is reported as no data.
    const seen = (JSON.parse(qemu) as { start: number; length: number; data: boolean }[])
      .filter(({ data }) => !data)
      .map(({ start, length }) => ({ offset: start, length }));
    expect(seen).toEqual(dirty);
    const diff = await appliance.api(
      'GET',
      '/v1/volumes/disk/diff?from=snapshot:round1&to=snapshot:round2&limit=65536',
    );
    expect((diff as { extents: unknown }).extents).toEqual(dirty);
  });

  it('are not offered of moments that would not stay the same', async () => {
    for (const name of [
      'disk@now+since=round1',
      'disk@round1+since=-1h',
      'disk@-1m',
      'disk@round1+since=none',
    ]) {
      expect((await tryRun('nbdinfo', [appliance.uri(name)])).code).not.toBe(0);
    }
  });
});
