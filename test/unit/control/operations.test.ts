import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { Catalog } from '../../../src/catalog/catalog.ts';
import type { PoolVerifyResult } from '../../../src/contract/pool.ts';
import { FINISHED_OPERATIONS_MAX } from '../../../src/control/limits.ts';
import { Operations } from '../../../src/control/operations.ts';
import { containing } from '../../support/matching.ts';
import { settled, VirtualTime } from '../../support/virtual-time.ts';

const result: PoolVerifyResult = {
  segmentsChecked: 1,
  blocksChecked: 2,
  packsChecked: 0,
  runsChecked: 0,
  isManifestChecked: true,
  isLivenessAudited: true,
  faults: [],
  faultCount: 0,
  durationMs: 3,
};

async function forever(): Promise<PoolVerifyResult> {
  return await Promise.withResolvers<PoolVerifyResult>().promise;
}

function full(): never {
  throw new Error('the disk is full');
}

let catalog: Catalog;

beforeEach(() => {
  catalog = new Catalog(':memory:');
});

afterEach(() => {
  catalog.close();
});

describe('an operation', () => {
  it('runs, reports progress, and ends with its result', async () => {
    const time = new VirtualTime();
    const operations = new Operations(time, catalog);
    const work = Promise.withResolvers<PoolVerifyResult>();
    const { id } = operations.start('pool-verify', async (onProgress) => {
      onProgress(1, 4);
      return await work.promise;
    });
    expect(operations.show(id)).toMatchObject({
      state: 'running',
      progress: { done: 1, total: 4, unit: 'segments' },
    });
    await time.pass(50);
    work.resolve(result);
    await settled();
    const ended = operations.show(id);
    expect(ended).toMatchObject({ state: 'succeeded', result });
    expect((ended.finishedMs ?? 0) - ended.startedMs).toBe(50);
  });

  it('ends failed with code, message and hint of what was thrown', async () => {
    const operations = new Operations(new VirtualTime(), catalog);
    const { id } = operations.start('pool-rebuild', async () => {
      await Promise.resolve();
      throw new OperationError('unavailable', 'gone', 'look');
    });
    await settled();
    expect(operations.show(id)).toMatchObject({
      state: 'failed',
      error: { code: 'unavailable', message: 'gone', hint: 'look' },
    });
  });

  it('excludes another one of its kind while it runs, and only then', async () => {
    const operations = new Operations(new VirtualTime(), catalog);
    const work = Promise.withResolvers<PoolVerifyResult>();
    const start = (): string => operations.start('pool-verify', async () => await work.promise).id;
    const id = start();
    expect(start).toThrow(expect.objectContaining({ code: 'conflict', message: containing(id) }));
    work.resolve(result);
    await settled();
    expect(start()).not.toBe(id);
  });

  it('is not found under an id that never was', () => {
    expect(() => new Operations(new VirtualTime(), catalog).show('x')).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    );
  });

  it('is forgotten when as many newer ones have ended as are kept', async () => {
    const operations = new Operations(new VirtualTime(), catalog);
    const ids: string[] = [];
    for (let count = 0; count <= FINISHED_OPERATIONS_MAX; count += 1) {
      ids.push(operations.start('pool-verify', async () => await Promise.resolve(result)).id);
      await settled();
    }
    expect(() => operations.show(ids[0] ?? '')).toThrow(OperationError);
    expect(operations.show(ids[1] ?? '').state).toBe('succeeded');
  });
});

describe('what the daemon did not see the end of', () => {
  it('is known to the next one as lost, under its id, and does not keep it from starting another', async () => {
    const time = new VirtualTime();
    const first = new Operations(time, catalog);
    const { id: ended } = first.start('pool-rebuild', async () => {
      await Promise.resolve();
      throw new OperationError('unavailable', 'gone');
    });
    const { id: lost, startedMs } = first.start('pool-verify', forever);
    await settled();
    await time.pass(5000);
    const next = new Operations(time, catalog);
    expect(next.list()).toEqual([
      {
        id: lost,
        kind: 'pool-verify',
        startedMs,
        state: 'failed',
        error: {
          code: 'unavailable',
          message: containing('the daemon ended while it was verifying the pool'),
          hint: 'run it again',
        },
      },
    ]);
    expect(() => next.show(ended)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(next.start('pool-verify', forever).state).toBe('running');
    expect(next.list().map(({ state }) => state)).toEqual(['running', 'failed']);
    // Told once; what runs now is lost with this one.
    expect(new Operations(time, catalog).list()).toHaveLength(1);
  });

  it('counts as lost, too, when its end was only the stop of the daemon', async () => {
    const operations = new Operations(new VirtualTime(), catalog);
    const work = Promise.withResolvers<PoolVerifyResult>();
    operations.start('pool-verify', async () => await work.promise);
    operations.stop();
    work.reject(new Error('the engine went away'));
    await settled();
    expect(catalog.operationsLeft()).toMatchObject([{ kind: 'pool-verify' }]);
  });

  it('is not remembered when the catalog cannot be written; the work goes on', async () => {
    const journal = { operationBegun: full, operationEnded: full, operationsLeft: () => [] };
    const operations = new Operations(new VirtualTime(), journal);
    const { id } = operations.start('pool-verify', async () => await Promise.resolve(result));
    await settled();
    expect(operations.show(id).state).toBe('succeeded');
  });
});
