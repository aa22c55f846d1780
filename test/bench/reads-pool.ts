/** Run by `bench reads`: reads from a pool of its own, on one thread, and prints what CPU each read took. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { inlineHost } from '../support/inline-host.ts';
import { ask, create, openOn, write } from '../unit/volume/pool-world.ts';

const mebi = 2 ** 20;
const volumeBytes = 192 * mebi;
const folder = fs.mkdtempSync(path.join(process.argv[2] ?? os.tmpdir(), 'tidemark-reads-'));

/** Reads `count` times `length` bytes, at random or in order; CPU of each in microseconds. */
async function timed(device: BlockDevice, length: number, count: number): Promise<number> {
  const target = new Uint8Array(length);
  const places = volumeBytes / length;
  const before = process.cpuUsage();
  for (let index = 0; index < count; index += 1) {
    const at = length === mebi ? index % places : Math.floor(Math.random() * places);
    await new Promise<void>((resolve) => {
      const request = new IoRequest(({ status }) => {
        if (status !== IoStatus.ok) throw new Error(`a read was answered with ${status}`);
        resolve();
      });
      Object.assign(request, { kind: IoKind.read, offset: at * length, length, target });
      device.submit(request);
    });
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

async function filled(pool: Pool): Promise<BlockDevice> {
  const device = await create(pool, 'bench', volumeBytes / 4096);
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  for (let offset = 0; offset < volumeBytes; offset += bytes.length) {
    await write(pool, device, offset, bytes);
  }
  return device;
}

try {
  const host = inlineHost(folder);
  const { pool } = await openOn(host, folder, {
    ...defaultSettings,
    manifestPath: path.join(folder, 'manifest.db'),
    scrubBytesPerSecond: 0,
  });
  const device = await filled(pool);
  // Into the page cache, and the code is compiled.
  await timed(device, mebi, volumeBytes / mebi);
  await timed(device, 4096, 50_000);
  const small = await timed(device, 4096, 200_000);
  const large = await timed(device, mebi, 1000);
  console.log(JSON.stringify({ small, large }));
  await ask<undefined>((done) => {
    pool.close(() => {
      done({ ok: true, value: undefined });
    });
  });
  host.abandon();
} finally {
  fs.rmSync(folder, { recursive: true, force: true });
}
