import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { addressOf } from '../../../src/volume/format/address.ts';
import { Seeds } from '../../../src/volume/format/checksum.ts';
import { finishFrame, peekFrame } from '../../../src/volume/format/frame.ts';
import {
  decodeSegmentHeader,
  finishSegmentHeader,
} from '../../../src/volume/format/segment-header.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import type { ScrubStatus } from '../../../src/volume/reports.ts';
import { ask, blockBytes, close, create, snapshot, worldOfTests, write } from './pool-world.ts';

const segmentBytes = 64 * blockBytes;
const fast = 2 ** 40;

const world = worldOfTests();

/** A pool with some segments of data, a snapshot and an index run, sealed; opened again. */
async function filledPool(): Promise<Pool> {
  const { pool } = await world.open();
  const device = await create(pool, 'lun0', 400);
  for (let block = 0; block < 400; block += 20) {
    await write(pool, device, block * blockBytes, new Uint8Array(20 * blockBytes).fill(block));
  }
  (await snapshot(pool, 'lun0', 'full')).close();
  await write(pool, device, 0, new Uint8Array(40 * blockBytes).fill(7));
  await close(pool);
  return (await world.open()).pool;
}

/** Runs a pass from its beginning to its end. */
async function pass({ scrubber }: Pool, bytesPerSecond = fast): Promise<ScrubStatus> {
  const before = scrubber.status().lastPass?.finishedMs;
  scrubber.start(bytesPerSecond);
  await expect
    .poll(() => scrubber.status().lastPass?.finishedMs, { interval: 2, timeout: 10_000 })
    .not.toBe(before);
  return scrubber.status();
}

function segmentNames(): string[] {
  return fs.readdirSync(path.join(world.folder, 'segments')).sort();
}

function change(name: string, position: number, edit: (byte: number) => number): void {
  const file = fs.openSync(path.join(world.folder, name), 'r+');
  const byte = new Uint8Array(1);
  fs.readSync(file, byte, 0, 1, position);
  byte[0] = edit(byte[0] ?? 0);
  fs.writeSync(file, byte, 0, 1, position);
  fs.fsyncSync(file);
  fs.closeSync(file);
}

/** Replaces one slot of the first segment. */
function changeSlot(
  slot: number,
  edit: (bytes: Uint8Array) => void,
  name = segmentNames()[0],
): void {
  const file = fs.openSync(path.join(world.folder, 'segments', name ?? ''), 'r+');
  const bytes = new Uint8Array(blockBytes);
  fs.readSync(file, bytes, 0, blockBytes, slot * blockBytes);
  edit(bytes);
  fs.writeSync(file, bytes, 0, blockBytes, slot * blockBytes);
  fs.fsyncSync(file);
  fs.closeSync(file);
}

/** Segment files are named by their id. */
function idOf(name: string): number {
  return Number.parseInt(name, 16);
}

async function verifyFaults(pool: Pool): Promise<readonly string[]> {
  return await new Promise((resolve) => {
    pool.verify(
      () => undefined,
      ({ faults }) => {
        resolve(faults);
      },
    );
  });
}

describe('scrubber', () => {
  it('is off unless it is told to run, and finds nothing in a sound pool', async () => {
    const pool = await filledPool();
    expect(pool.scrubber.status()).toMatchObject({ state: 'off', findingCount: 0 });
    const status = await pass(pool);
    expect(status).toMatchObject({ state: 'waiting', findingCount: 0, findings: [] });
    expect(status.lastPass).toMatchObject({ findingCount: 0, isManifestChecked: true });
    expect(status.lastPass?.blocksChecked).toBeGreaterThan(440);
    expect(status.nextPassMs).toBeGreaterThan(Date.now() + 23 * 3_600_000);
  });

  it('says which blocks of which volume are bad, and whether the present has them', async () => {
    const pool = await filledPool();
    const [first = '', second = ''] = segmentNames();
    // Blocks 1 and 2 of lun0 lie behind header, EPOCH, VOL_CREATE and the header of the first frame with data.
    change(`segments/${first}`, 6 * blockBytes + 100, (byte) => byte ^ 1);
    change(`segments/${first}`, 5 * blockBytes, (byte) => byte ^ 128);
    const { findings, findingCount } = await pass(pool);
    expect(findingCount).toBe(1);
    expect(findings).toMatchObject([
      { volume: 'lun0', offset: blockBytes, length: 2 * blockBytes, presentIn: [] },
    ]);
    change(`segments/${second}`, 10 * blockBytes, (byte) => byte ^ 4);
    const next = await pass(pool);
    expect(next.findingCount).toBe(2);
    expect(next.findings[1]).toMatchObject({ volume: 'lun0', presentIn: ['lun0'] });
  });

  it('finds any bit that flipped in what is stored', async () => {
    const pool = await filledPool();
    const names = segmentNames().slice(0, 5);
    for (let round = 0; round < 24; round += 1) {
      const name = `segments/${names[round % names.length]}`;
      const { size } = fs.statSync(path.join(world.folder, name));
      const isFooter = round % 4 === 0;
      const span = isFooter ? size - segmentBytes : 40 * blockBytes;
      const position = (isFooter ? segmentBytes : 0) + ((round * 7_919_317) % span);
      change(name, position, (byte) => byte ^ (1 << (round % 8)));
      expect((await pass(pool)).findingCount, `${name} at ${position}`).toBeGreaterThan(0);
      change(name, position, (byte) => byte ^ (1 << (round % 8)));
    }
    change('superblock-b', 5000, (byte) => byte ^ 2);
    const { findings } = await pass(pool);
    expect(findings.map(({ text }) => text)).toEqual(['superblock-b: copy 2 is unreadable']);
  });

  it('compares the chain of frames and the digests of segments, and so does verify', async () => {
    const pool = await filledPool();
    const seeds = new Seeds(pool.uuid);
    const [first = '', second = ''] = segmentNames();
    changeSlot(2, (bytes) => {
      const frame = peekFrame(bytes, addressOf(idOf(first), 2), 64);
      finishFrame(bytes, frame?.durableThrough ?? 0, (frame?.previousCrc ?? 0) ^ 1, seeds);
    });
    const chain = 'slot 2: the frame does not follow the one before it (chain of checksums)';
    const digest = `segment ${idOf(second)}: digest of segment ${idOf(first)} differs from its frames`;
    const texts = (await pass(pool)).findings.map(({ text }) => text);
    expect(texts[0]).toContain(chain);
    expect(texts).toContain(digest);
    expect((await verifyFaults(pool)).join('\n')).toContain(chain);
    expect(await verifyFaults(pool)).toContain(digest);
    changeSlot(
      0,
      (bytes) => {
        const header = decodeSegmentHeader(bytes, idOf(second), seeds);
        finishSegmentHeader(bytes, new Uint8Array(32), header?.durableThrough ?? 0, seeds);
      },
      second,
    );
    expect(await verifyFaults(pool)).toContain(digest);
  });

  it('notices a manifest that differs from the log', async () => {
    const pool = await filledPool();
    const { default: Database } = await import('better-sqlite3');
    const database = new Database(path.join(world.folder, 'manifest.db'));
    database.exec("UPDATE volume SET name = 'lun1'");
    database.close();
    const { findings } = await pass(pool);
    expect(findings.map(({ text }) => text)).toEqual([
      "the manifest differs from the log ('pool rebuild' makes it again)",
    ]);
  });

  it('pauses, and knows after a restart where it was', async () => {
    let pool = await filledPool();
    await pass(pool);
    pool.scrubber.start(2 ** 16);
    await expect.poll(() => pool.scrubber.status().segmentsDone, { interval: 2 }).toBe(0);
    pool.scrubber.pause();
    expect(pool.scrubber.status()).toMatchObject({ state: 'paused', bytesPerSecond: 2 ** 16 });
    const { passStartedMs, lastPass } = pool.scrubber.status();
    await close(pool);
    pool = (await world.open(undefined, 1)).pool;
    await expect.poll(() => pool.scrubber.status().state, { interval: 2 }).toBe('paused');
    expect(pool.scrubber.status()).toMatchObject({ passStartedMs, lastPass });
  });

  it('runs beside writes, and compares the manifest with what they have changed', async () => {
    const pool = await filledPool();
    const device = pool.volumeOpen('lun0');
    for (let round = 0; round < 5; round += 1) {
      const running = pass(pool);
      for (let block = 0; block < 300; block += 20) {
        await write(pool, device, block * blockBytes, new Uint8Array(20 * blockBytes).fill(block));
      }
      await ask((done) => {
        pool.snapshotCreate([{ volume: 'lun0', name: `s${round}` }], done);
      });
      const { lastPass, findings } = await running;
      expect(findings).toEqual([]);
      expect(lastPass).toMatchObject({ isManifestChecked: true });
    }
  });

  it('is not disturbed by verifications that end while it is inside a segment', async () => {
    const pool = await filledPool();
    // Four steps a segment, some ten milliseconds apart.
    const running = pass(pool, 2 ** 20);
    while (pool.scrubber.status().state === 'running') {
      expect(await verifyFaults(pool)).toEqual([]);
    }
    expect((await running).findings).toEqual([]);
  });

  it.each([
    { where: 'behind what it has read', bytesPerSecond: 2 ** 21, ahead: 0, waitMs: 0 },
    { where: 'in the segment that it is inside', bytesPerSecond: 2 ** 20, ahead: 1, waitMs: 100 },
  ])('is not misled by a log that goes on $where', async ({ bytesPerSecond, ahead, waitMs }) => {
    const pool = await filledPool();
    const { scrubber } = pool;
    const device = pool.volumeOpen('lun0');
    const writeMore = async (value: number): Promise<void> => {
      for (let block = 0; block < 40; block += 20) {
        await write(pool, device, block * blockBytes, new Uint8Array(20 * blockBytes).fill(value));
      }
    };
    await writeMore(1);
    const running = pass(pool, bytesPerSecond);
    for (let more = 2; more < 6; more += 1) {
      const isThere = (): boolean =>
        scrubber.status().state !== 'running' ||
        scrubber.status().segmentsDone >= scrubber.status().segmentCount - ahead;
      await expect.poll(isThere, { interval: 1, timeout: 4000 }).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await writeMore(more);
    }
    expect((await running).findings).toEqual([]);
  });
});
