import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IoKind, IoStatus } from '../../../src/device/block-device.ts';
import { Provisioning } from '../../../src/volume/catalogue/records.ts';
import { cleanerLimits } from '../../../src/volume/cleaner/limits.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { openPool } from '../../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';
import { ask, blockBytes, close, create, read, snapshot, submit, write } from './pool-world.ts';

const segmentSlots = 512;
const segmentBytes = segmentSlots * blockBytes;
const capacityBytes = 64 * segmentBytes;
/** Ten of them, with their headers, fill a segment. */
const chunkBytes = 50 * blockBytes;

let folder = '';
let host: ReturnType<typeof inlineHost>;
let pool: Pool;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-full-'));
  await open();
});

afterEach(() => {
  host.abandon();
  rmSync(folder, { recursive: true, force: true });
});

async function open(cleaner: 'auto' | 'off' = 'off'): Promise<void> {
  host = inlineHost(folder);
  const opened = await ask<{ pool: Pool }>((done) => {
    const options = {
      name: 'main',
      settings: { ...smallSettings(folder), segmentSlots, runFanOut: 8, cleaner },
      capacityBytes,
      pageCacheBytes: 2 ** 30,
      onFailed: (message: string) => {
        throw new Error(message);
      },
    };
    openPool(host, options, done);
  });
  pool = opened.pool;
}

async function createThick(name: string, sizeBytes: number): Promise<void> {
  await ask((done) => {
    pool.volumeCreate({ name, sizeBytes, provisioning: Provisioning.thick }, done);
  });
}

/** Writes the volume over and over, from its start, until it is refused or that much was written; answers bytes. */
async function fill(name: string, bytesMax: number): Promise<number> {
  const device = pool.volumeOpen(name);
  const bytes = new Uint8Array(chunkBytes).fill(7);
  for (let written = 0; written < bytesMax; written += chunkBytes) {
    const at = written % (device.sizeBytes - (device.sizeBytes % chunkBytes));
    const status = await write(pool, device, at, bytes);
    if (status === IoStatus.noSpace) return written;
    expect(status).toBe(IoStatus.ok);
  }
  return bytesMax;
}

async function trim(name: string, offset: number, length: number): Promise<IoStatus> {
  return (await submit(pool.volumeOpen(name), { kind: IoKind.trim, offset, length })).status;
}

async function resizePool(bytes: number): Promise<void> {
  await ask((done) => {
    pool.settings.resize(Math.floor(bytes), done);
  });
}

async function setProvisioning(provisioning: Provisioning): Promise<void> {
  await ask((done) => {
    pool.volumeSetProvisioning({ name: 'lun0', provisioning }, done);
  });
}

async function resizeVolume(sizeBytes: number): Promise<void> {
  await ask((done) => {
    pool.volumeResize({ name: 'lun0', sizeBytes, force: false }, done);
  });
}

describe('a full pool', () => {
  it('refuses writes at the hard limit and serves everything else, also after a restart; takes them when there is space', async () => {
    await create(pool, 'lun0', 2 ** 15);
    await create(pool, 'lun1', 16);
    const written = await fill('lun0', capacityBytes);
    const { usedBytes, writeLimitBytes, softLimitBytes, fullReason, relief } = pool.space();
    expect(written).toBeGreaterThan(capacityBytes * 0.75);
    expect(usedBytes).toBeLessThan(writeLimitBytes + 2 * segmentBytes);
    expect(softLimitBytes).toBeLessThan(writeLimitBytes);
    expect(fullReason).toMatch(/^\d+ % of the pool's capacity/);
    expect(relief.map(({ step, endedMs }) => [step, endedMs])).toEqual([
      ['throttle', undefined],
      ['refuse', undefined],
    ]);

    await (async () => {
      const device = pool.volumeOpen('lun0');
      expect(await write(pool, device, 0, new Uint8Array(blockBytes))).toBe(IoStatus.noSpace);
      expect(await read(device, 0, blockBytes)).toEqual(new Uint8Array(blockBytes).fill(7));
      expect(await trim('lun0', 0, 2 ** 20)).toBe(IoStatus.ok);
      expect(await read(device, 0, blockBytes)).toEqual(new Uint8Array(blockBytes));
      const zero = { kind: IoKind.zero, offset: 2 ** 20, length: blockBytes };
      expect((await submit(device, zero)).status).toBe(IoStatus.ok);
      (await snapshot(pool, 'lun0', 'while-full')).close();
    })();
    await close(pool);
    await open();
    expect(pool.space().fullReason).toBeDefined();
    const device = pool.volumeOpen('lun0');
    expect(await write(pool, device, 0, new Uint8Array(blockBytes))).toBe(IoStatus.noSpace);
    expect(await read(device, 0, blockBytes)).toEqual(new Uint8Array(blockBytes));
    expect(await read(device, 2 ** 21, blockBytes)).toEqual(new Uint8Array(blockBytes).fill(7));
    await ask((done) => {
      pool.snapshotDelete({ volume: 'lun0', name: 'while-full' }, done);
    });
    await ask((done) => {
      pool.volumeDelete({ name: 'lun1', force: true }, done);
    });

    // So little more that it is less than the margin: nothing changes.
    await resizePool(capacityBytes * 1.002);
    expect(await write(pool, device, 0, new Uint8Array(blockBytes))).toBe(IoStatus.noSpace);
    await resizePool(capacityBytes * 1.1);
    expect(await write(pool, device, 0, new Uint8Array(blockBytes))).toBe(IoStatus.ok);
    const events = pool.space().relief.filter(({ step }) => step === 'refuse');
    expect(events.at(-1)?.endedMs).toBeDefined();
    await close(pool);
  }, 60_000);

  it('takes trims until their reserve is used up, deletes whatever happens, and trims again when it was cleaned', async () => {
    await create(pool, 'lun0', 2 ** 15);
    await create(pool, 'lun1', 2 ** 12);
    await fill('lun1', 2 ** 12 * blockBytes);
    (await snapshot(pool, 'lun0', 'before')).close();
    await fill('lun0', capacityBytes);
    const before = pool.space().usedBytes;
    let taken = 0;
    let status: IoStatus = IoStatus.ok;
    for (; status === IoStatus.ok && taken < 5000; taken += 1) {
      status = await trim('lun0', taken * blockBytes, blockBytes);
    }
    expect(status).toBe(IoStatus.noSpace);
    expect(taken).toBeGreaterThan(100);
    const { usedBytes, cleanerLimitBytes, fullReason } = pool.space();
    expect(usedBytes - before).toBeLessThan(capacityBytes * 0.01);
    expect(usedBytes).toBeLessThan(cleanerLimitBytes);
    expect(fullReason).toContain('also what is kept for trims');
    const device = pool.volumeOpen('lun0');
    const zero = { kind: IoKind.zero, offset: 2 ** 24, length: blockBytes };
    expect((await submit(device, zero)).status).toBe(IoStatus.noSpace);
    expect(await read(device, 2 ** 24, blockBytes)).toEqual(new Uint8Array(blockBytes).fill(7));
    await expect(snapshot(pool, 'lun0', 'more')).rejects.toThrow('nothing new can be made');
    await expect(create(pool, 'lun2', 16)).rejects.toThrow('nothing new can be made');
    await ask((done) => {
      pool.snapshotDelete({ volume: 'lun0', name: 'before' }, done);
    });
    await ask((done) => {
      pool.volumeDelete({ name: 'lun1', force: true }, done);
    });
    await ask((done) => {
      pool.cleaner.run(() => undefined, done);
    });
    expect(await trim('lun0', 2 ** 23, 2 ** 20)).toBe(IoStatus.ok);
    expect(await write(pool, device, 0, new Uint8Array(blockBytes))).toBe(IoStatus.ok);
    expect(pool.space().fullReason).toBeUndefined();
    await close(pool);
  }, 60_000);

  it('that refuses writes makes room by itself, although nothing is logged any more', async () => {
    const kept = await create(pool, 'kept', 256 * 50);
    const gone = await create(pool, 'gone', 256 * 50);
    const bytes = new Uint8Array(chunkBytes).fill(7);
    for (let chunk = 0; chunk < 240; chunk += 1) {
      const device = chunk % 4 === 0 ? gone : kept;
      expect(await write(pool, device, chunk * chunkBytes, bytes)).toBe(IoStatus.ok);
    }
    await ask((done) => {
      pool.volumeDelete({ name: 'gone', force: true }, done);
    });
    await close(pool);
    const before = { ...cleanerLimits };
    const never = { logSegments: 2 ** 30, logShare: 0, pauseMs: 1, pauseFactor: 0 };
    // As after many marks that found nothing: so much as would make another one due is never written.
    Object.assign(cleanerLimits, {
      firstLookAfterMs: 1,
      lookEveryMs: 1,
      markAfter: { none: never, soft: never, hard: never },
    });
    try {
      await open('auto');
      // A quarter of every segment is garbage, which is not worth a copy in a pool that is half empty.
      await expect.poll(() => pool.cleaner.status().lastPass?.reason).toBe('opened');
      expect(pool.cleaner.status().copiedBytes).toBeLessThan(4 * chunkBytes);
      await resizePool(pool.space().usedBytes / 0.95);
      expect(pool.space().fullReason).toBeDefined();
      await expect.poll(() => pool.space().fullReason, { timeout: 20_000 }).toBeUndefined();
      const device = pool.volumeOpen('kept');
      expect(await write(pool, device, 0, bytes)).toBe(IoStatus.ok);
      expect(await read(device, chunkBytes, chunkBytes)).toEqual(bytes);
      await close(pool);
    } finally {
      Object.assign(cleanerLimits, before);
    }
  }, 60_000);

  it('has limits that can be set, and keeps them', async () => {
    await ask((done) => {
      pool.settings.setLimits({ soft: 0.6, hard: 0.7 }, done);
    });
    await create(pool, 'lun0', 2 ** 15);
    const written = await fill('lun0', capacityBytes);
    expect(written).toBeLessThan(capacityBytes * 0.7);
    expect(written).toBeGreaterThan(capacityBytes * 0.5);
    const { softLimitBytes, writeLimitBytes } = pool.space();
    await close(pool);
    await open();
    expect(pool.space()).toMatchObject({ softLimitBytes, writeLimitBytes });
    const refused = ask((done) => {
      pool.settings.setLimits({ soft: 0.9, hard: 0.99 }, done);
    });
    await expect(refused).rejects.toThrow('do not do');
    await close(pool);
  }, 60_000);

  it('says nothing of periods that it is too young for', async () => {
    const { growth } = await ask<{ growth: readonly object[] }>((done) => {
      pool.spaceAccount({ volume: undefined, deleted: [] }, () => undefined, done);
    });
    expect(growth).toEqual([3_600_000, 86_400_000, 604_800_000].map((periodMs) => ({ periodMs })));
    await close(pool);
  });
});

describe('a thick volume', () => {
  const thickBytes = 160 * chunkBytes;

  it('is refused when the pool cannot keep space for it, and keeps what it got from others', async () => {
    await expect(createThick('huge', capacityBytes)).rejects.toThrow('would reserve');
    await createThick('thick', thickBytes);
    expect(pool.space().reservedBytes).toBe((thickBytes * 9) / 8);
    await create(pool, 'thin', 2 ** 15);
    const written = await fill('thin', 2 * capacityBytes);
    expect(written).toBeLessThan(capacityBytes - thickBytes);
    expect(pool.space().fullReason).toContain('for thick volumes');
    // Every block of it finds its place, in a pool that refuses the others.
    expect(await fill('thick', thickBytes)).toBeGreaterThanOrEqual(thickBytes);
    expect(await fill('thin', chunkBytes)).toBe(0);
    expect(await read(pool.volumeOpen('thick'), thickBytes - blockBytes, blockBytes)).toEqual(
      new Uint8Array(blockBytes).fill(7),
    );
    await close(pool);
    await open();
    expect(pool.volume('thick').provisioning).toBe(Provisioning.thick);
    // What it has stored is found out first.
    while (pool.isMappedPartial(pool.volume('thick'))) await new Promise(setImmediate);
    expect(pool.space().reservedBytes).toBeLessThanOrEqual(thickBytes / 8);
    await close(pool);
  }, 60_000);

  it('that is written again and again uses up its own reserve, not that of another', async () => {
    await createThick('one', thickBytes);
    await createThick('two', thickBytes);
    await create(pool, 'thin', 2 ** 15);
    await fill('thin', 2 * capacityBytes);
    expect(await fill('one', 4 * capacityBytes)).toBeLessThan(capacityBytes);
    expect(await fill('two', thickBytes)).toBeGreaterThanOrEqual(thickBytes);
    expect(await trim('one', 0, thickBytes)).toBe(IoStatus.ok);
    await close(pool);
  }, 60_000);

  it('can be made of a thin one and back, and grows only as far as there is space', async () => {
    await create(pool, 'lun0', thickBytes / blockBytes);
    await setProvisioning(Provisioning.thick);
    expect(pool.volumeOpen('lun0').isThick).toBe(true);
    expect(pool.space().reservedBytes).toBe((thickBytes * 9) / 8);
    await expect(resizeVolume(capacityBytes)).rejects.toThrow('would reserve');
    await resizeVolume(thickBytes * 2);
    expect(pool.space().reservedBytes).toBe((thickBytes * 9) / 4);
    await setProvisioning(Provisioning.thin);
    expect(pool.space().reservedBytes).toBe(0);
    await resizeVolume(capacityBytes);
    await expect(setProvisioning(Provisioning.thick)).rejects.toThrow('would reserve');
    await close(pool);
  });
});
