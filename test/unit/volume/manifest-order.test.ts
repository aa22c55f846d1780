import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Outcome } from '../../../src/base/errors.ts';
import type { Pool } from '../../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../../src/volume/pool-open.ts';
import type { PoolHost } from '../../../src/volume/ports.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';
import { sleep } from '../../support/run.ts';

/** Much longer than a published record waits before it is sent to the manifest. */
const slowAnswerMs = 300;

async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

async function open(host: PoolHost, folder: string): Promise<Pool> {
  const { pool } = await ask<OpenedPool>((done) => {
    const options = {
      name: 'main',
      settings: smallSettings(folder),
      capacityBytes: 2 ** 30,
      pageCacheBytes: 2 ** 30,
      onFailed: (message: string) => {
        throw new Error(message);
      },
    };
    openPool(host, options, done);
  });
  return pool;
}

async function volumeCreate(pool: Pool, name: string): Promise<void> {
  await ask((done) => {
    pool.volumeCreate({ name, sizeBytes: 2 ** 20, ack: 0 }, done);
  });
}

it('records that the killed process had not sent to the manifest are applied before those of the next one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-manifest-'));
  const first = inlineHost(folder);
  const second = inlineHost(folder);
  try {
    const before = await open(first, folder);
    await sleep(slowAnswerMs);
    await volumeCreate(before, 'a');
    first.abandon();

    const slowKeeper: PoolHost = {
      ...second,
      startKeeper: (settings, onResult) =>
        second.startKeeper(settings, (result) => {
          second.timers.after(slowAnswerMs, () => {
            onResult(result);
          });
        }),
    };
    const after = await open(slowKeeper, folder);
    await volumeCreate(after, 'b');
    await sleep(3 * slowAnswerMs);
    const report = await ask<{ wasEqual: boolean }>((done) => {
      after.rebuild(() => undefined, done);
    });
    expect(report.wasEqual).toBe(true);
    expect(after.volumes().map((each) => each.name)).toEqual(['a', 'b']);
  } finally {
    first.abandon();
    second.abandon();
    rmSync(folder, { recursive: true, force: true });
  }
});
