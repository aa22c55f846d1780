/**
 * A day in a quarter of a minute: the short form of `npm run bench -- day`. Every volume, snapshot and kept moment is compared with
 * what was written, through kills and stops of the engine and with the cleaner at work; nothing is timed.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runDay } from '../bench/day-run.ts';

const mebi = 2 ** 20;
const minuteMs = 60_000;
const volumes = 16;
const hours = 1.5;
const minutes = 0.4;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-test-'));
afterAll(() => {
  fs.rmSync(folder, { recursive: true, force: true });
});

it('loses nothing, shows nothing wrong and leaves nothing behind', async () => {
  const beganMs = Date.now();
  const { samples, totals, counts, check } = await runDay({
    minutes,
    hours,
    volumes,
    iscsiHosts: 2,
    volumeBytes: 8 * mebi,
    poolBytes: 256 * mebi,
    segmentSlots: 1024,
    fillShare: 0.35,
    rates: { writesPerSecond: 500, readsPerSecond: 200 },
    sampleMs: 250,
    snapshotEveryMs: 4 * minuteMs,
    snapshotsKept: 5,
    restarts: 2,
    comparedMax: 60,
    folder,
  });
  expect([...totals.faults, ...check.faults]).toEqual([]);
  expect(check.volumesCompared).toBe(volumes);
  expect(check.snapshotsCompared).toBeGreaterThan(0);
  expect(check.momentsCompared).toBeGreaterThan(0);
  expect({ kills: counts.kills, stops: counts.stops }).toEqual({ kills: 1, stops: 1 });
  const { views, diffs, rollbacks, clones, snapshotsDeleted } = counts;
  for (const done of [views, diffs, rollbacks, clones, snapshotsDeleted]) {
    expect(done).toBeGreaterThan(0);
  }
  // A slow machine takes longer, and its clock goes on: by the fill before, too.
  const passedMinutes = ((Date.now() - beganMs) / minuteMs) * ((hours * 60) / minutes);
  const pools = samples.flatMap(({ pool }) => (pool === undefined ? [] : [pool]));
  const reclaimedBytes = (pools.at(-1)?.reclaimedBytes ?? 0) + check.reclaimedBytes;
  expect(reclaimedBytes).toBeGreaterThan(0);
  for (const { fillShare, pinCount } of pools) {
    expect(fillShare).toBeLessThan(1);
    // One a minute of each volume, and what a clone has of its own.
    expect(pinCount).toBeLessThanOrEqual((volumes + 2) * (passedMinutes + 2));
  }
  expect(fs.readdirSync(folder)).toEqual([]);
});
