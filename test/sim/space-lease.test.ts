/**
 * The account of space while what it looks at is deleted and cleaned: it says what was there when it began, to the block, and holds
 * nothing when it is done.
 */
import { afterEach, describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/base/errors.ts';
import { IoKind, IoRequest } from '../../src/device/block-device.ts';
import { livenessLimits } from '../../src/volume/liveness/limits.ts';
import type { CleanerPass, PoolSpace } from '../../src/volume/reports.ts';
import { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

const blockBytes = 4096;
const eventsMax = 400_000;
const snapshots = 24;

function ask<T>(process: StoreProcess, operation: (done: (answer: Outcome<T>) => void) => void): T {
  const answered = start(process, operation);
  return answered();
}

/** Begins, and answers a function that waits for the answer. */
function start<T>(
  process: StoreProcess,
  operation: (done: (answer: Outcome<T>) => void) => void,
): () => T {
  let answer: Outcome<T> | undefined;
  operation((outcome) => {
    answer = outcome;
  });
  return () => {
    process.runUntil(() => answer !== undefined, eventsMax, 'an answer');
    if (answer?.ok !== true) throw answer?.error ?? new Error('no answer');
    return answer.value;
  };
}

function write(process: StoreProcess, block: number, blocks: number): void {
  let isDone = false;
  const request = new IoRequest(() => {
    isDone = true;
  });
  const [offset, length] = [block * blockBytes, blocks * blockBytes];
  const payload = process.allocate(offset, length);
  payload?.fill(0, new Uint8Array(length).fill(block), 0, length);
  Object.assign(request, { kind: IoKind.write, offset, length, payload });
  process.openVolume('v').submit(request);
  process.runUntil(() => isDone, eventsMax, 'a write');
}

/** What of an account does not depend on where segments lie. */
function meaning({ volumes, snapshots: listed }: PoolSpace): unknown {
  return {
    volumes: volumes.map(({ historyBytes: _history, ...volume }) => volume),
    snapshots: listed,
  };
}

const before = { ...livenessLimits };

afterEach(() => {
  Object.assign(livenessLimits, before);
});

/** Whether the account was still being taken when the cleaner was done. */
function isOutlasting(seed: number): boolean {
  // A walk over all moments for each segment: it lasts longer than a mark.
  Object.assign(livenessLimits, { holderTableBytes: 64 * 4 });
  const random = new SeededRandom(seed);
  const process = new StoreProcess({ machine: new Machine(), random, cleaner: 'off' });
  process.open();
  ask(process, (done) => {
    process.pool.volumeCreate({ name: 'v', sizeBytes: 2048 * blockBytes }, done);
  });
  const policy = { windowMs: 0, windowBytes: undefined, tiers: [] };
  ask(process, (done) => {
    process.pool.retention.setPolicy({ volume: 'v', policy }, done);
  });
  for (let index = 0; index < snapshots; index += 1) {
    for (let count = 0; count < 6; count += 1) write(process, random.below(2040), 1 + (seed % 8));
    ask(process, (done) => {
      process.pool.snapshotCreate([{ volume: 'v', name: `s${index}` }], done);
    });
  }
  // All is merged into runs, and horizons have moved.
  process.passTime(60_000);
  const space = (done: (answer: Outcome<PoolSpace>) => void): void => {
    process.pool.spaceAccount({ volume: 'v', deleted: [] }, () => undefined, done);
  };
  const undisturbed = ask(process, space);

  let [isBegun, isEnded] = [false, false];
  const second = start<PoolSpace>(process, (done) => {
    const question = { volume: 'v', deleted: [] };
    process.pool.spaceAccount(
      question,
      () => {
        isBegun = true;
      },
      (answer) => {
        isEnded = true;
        done(answer);
      },
    );
  });
  process.runUntil(() => isBegun, eventsMax, 'the walk');
  const deleted = Array.from({ length: snapshots }, (_, index) =>
    start(process, (done) => {
      process.pool.snapshotDelete({ volume: 'v', name: `s${index}` }, done);
    }),
  );
  for (const isDeleted of deleted) isDeleted();
  const cleaned = start<CleanerPass>(process, (done) => {
    process.pool.cleaner.run(() => undefined, done);
  });
  const during = cleaned();
  const hasOutlasted = !isEnded;
  expect(meaning(second())).toEqual(meaning(undisturbed));
  // Nothing is held any more: another pass finds what this one could not give back.
  const later = ask<CleanerPass>(process, (done) => {
    process.pool.cleaner.run(() => undefined, done);
  });
  if (hasOutlasted) expect(later.reclaimedBytes).toBeGreaterThan(during.reclaimedBytes);
  const after = ask(process, space);
  expect(after.heldBytes).toBe(after.volumes[0]?.presentBytes);
  process.close();
  return hasOutlasted;
}

describe('the account of space', () => {
  it('is of the moment when it began, and holds what it looks at until it is done', () => {
    const outlasting = [3, 4, 5].filter(isOutlasting);
    expect(outlasting.length).toBeGreaterThan(0);
  }, 120_000);
});
