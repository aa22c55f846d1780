import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { IoKind, IoRequest, IoStatus } from '../../../src/device/block-device.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { close, create, worldOfTests } from './pool-world.ts';

const writeBytes = 8 * 4096;
const writes = 60;

const world = worldOfTests();

/** Writes in many turns, each while earlier ones are in flight, over many segments of 64 slots. */
async function writeALot(pool: Pool): Promise<void> {
  const device = pool.volumeOpen('lun0');
  const answers: Promise<IoRequest>[] = [];
  for (let index = 0; index < writes; index += 1) {
    const answer = Promise.withResolvers<IoRequest>();
    const request = new IoRequest(answer.resolve);
    request.kind = IoKind.write;
    request.offset = index * writeBytes;
    request.length = writeBytes;
    request.payload = pool.staging.allocate(request.offset, writeBytes);
    device.submit(request);
    answers.push(answer.promise);
    await new Promise(setImmediate);
  }
  for (const request of await Promise.all(answers)) expect(request.status).toBe(IoStatus.ok);
}

/** Bytes of the files that the pool is made of: the first `segmentCount` segments in full, but the last, which is being written. */
function bytesOnDisk(folder: string, segmentCount: number): number {
  const sizesIn = (name: string): number[] =>
    existsSync(join(folder, name))
      ? readdirSync(join(folder, name))
          .sort()
          .map((each) => statSync(join(folder, name, each)).size)
      : [];
  const segments = sizesIn('segments').slice(0, segmentCount - 1);
  const manifest = ['manifest.db', 'manifest.db-wal', 'manifest.db-shm'].map(
    (name) => statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0,
  );
  return [...segments, ...sizesIn('runs'), ...manifest].reduce((sum, size) => sum + size, 0);
}

describe('space', () => {
  it('counts what the files of the pool take, also a segment that the log left while writes were in flight', async () => {
    const { pool } = await world.open();
    await create(pool, 'lun0', 2 ** 12);
    await writeALot(pool);
    const { usedBytes, segmentCount } = pool.space();
    expect(segmentCount).toBeGreaterThan(5);
    expect(usedBytes).toBeGreaterThan(writes * writeBytes);
    await close(pool);
    const reopened = (await world.open()).pool.space();
    // Of footers the tables of frames are not counted.
    const onDisk = bytesOnDisk(world.folder, reopened.segmentCount);
    expect(reopened.usedBytes).toBeGreaterThan(onDisk * 0.98);
    expect(reopened.usedBytes).toBeLessThan(onDisk * 1.02);
    const { segmentBytes, packBytes, runBytes, manifestBytes } = reopened.stored;
    expect(segmentBytes + packBytes + runBytes + manifestBytes).toBe(reopened.usedBytes);
    expect(runBytes).toBeGreaterThan(0);
    expect(manifestBytes).toBeGreaterThan(0);
  });
});
