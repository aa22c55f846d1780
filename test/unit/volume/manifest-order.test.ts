import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { PoolHost } from '../../../src/volume/ports.ts';
import { inlineHost } from '../../support/inline-host.ts';
import { sleep } from '../../support/run.ts';
import { ask, create, openOn } from './pool-world.ts';

/** Much longer than a published record waits before it is sent to the manifest. */
const slowAnswerMs = 300;

it('records that the killed process had not sent to the manifest are applied before those of the next one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-manifest-'));
  const first = inlineHost(folder);
  const second = inlineHost(folder);
  try {
    const before = (await openOn(first, folder)).pool;
    await sleep(slowAnswerMs);
    await create(before, 'a', 256);
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
    const after = (await openOn(slowKeeper, folder)).pool;
    await create(after, 'b', 256);
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
