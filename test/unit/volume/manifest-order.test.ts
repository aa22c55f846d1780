import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { PoolHost } from '../../../src/volume/ports.ts';
import { inlineHost } from '../../support/inline-host.ts';
import { sleep } from '../../support/run.ts';
import { ask, create, openOn } from './pool-world.ts';

/** Timers of the pool are so much faster: a published record waits 10 ms before it is sent to the manifest. */
const hurry = 20;
/** Longer than that. */
const slowAnswerMs = 30;

function hurried(host: PoolHost): PoolHost {
  const { timers } = host;
  const after: typeof timers.after = (delayMs, action) => timers.after(delayMs / hurry, action);
  return { ...host, timers: { ...timers, after } };
}

it('records that the killed process had not sent to the manifest are applied before those of the next one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-manifest-'));
  const first = inlineHost(folder);
  const second = inlineHost(folder);
  try {
    const before = (await openOn(hurried(first), folder)).pool;
    await sleep(slowAnswerMs);
    await create(before, 'a', 256);
    first.abandon();

    const slowKeeper: PoolHost = {
      ...hurried(second),
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
