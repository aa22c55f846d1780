import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Outcome } from '../../../src/base/errors.ts';
import { IoKind, IoRequest, IoStatus } from '../../../src/device/block-device.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { openPool } from '../../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';

const writeBytes = 8 * 4096;
const writes = 60;

let folder = '';
const hosts: ReturnType<typeof inlineHost>[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-space-'));
});

afterEach(() => {
  for (const host of hosts.splice(0)) host.abandon();
  rmSync(folder, { recursive: true, force: true });
});

async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

async function open(): Promise<Pool> {
  const host = inlineHost(folder);
  hosts.push(host);
  const options = {
    name: 'main',
    settings: smallSettings(folder),
    capacityBytes: 2 ** 30,
    pageCacheBytes: 2 ** 30,
    onFailed: (message: string) => {
      throw new Error(message);
    },
  };
  const { pool } = await ask<{ pool: Pool }>((done) => {
    openPool(host, options, done);
  });
  return pool;
}

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

describe('space', () => {
  it('counts every segment, also one that the log left while writes were in flight', async () => {
    const pool = await open();
    await ask((done) => {
      pool.volumeCreate({ name: 'lun0', sizeBytes: 2 ** 24 }, done);
    });
    await writeALot(pool);
    const { usedBytes, segmentCount } = pool.space();
    expect(segmentCount).toBeGreaterThan(5);
    await new Promise<void>((resolve) => {
      pool.close(resolve);
    });
    const reopened = await open();
    // The new opening has logged a segment header and its EPOCH frame.
    expect(reopened.space().usedBytes).toBe(usedBytes + 2 * 4096);
  });
});
