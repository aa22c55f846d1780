import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import type { PoolVerifyResult } from '../../../src/contract/pool.ts';
import { FINISHED_OPERATIONS_MAX } from '../../../src/control/limits.ts';
import { Operations } from '../../../src/control/operations.ts';
import { containing } from '../../support/matching.ts';
import { settled, VirtualTime } from '../../support/virtual-time.ts';

const result: PoolVerifyResult = {
  segmentsChecked: 1,
  blocksChecked: 2,
  faults: [],
  faultCount: 0,
  durationMs: 3,
};

describe('an operation', () => {
  it('runs, reports progress, and ends with its result', async () => {
    const time = new VirtualTime();
    const operations = new Operations(time);
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
    const operations = new Operations(new VirtualTime());
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
    const operations = new Operations(new VirtualTime());
    const work = Promise.withResolvers<PoolVerifyResult>();
    const start = (): string => operations.start('pool-verify', async () => await work.promise).id;
    const id = start();
    expect(start).toThrow(expect.objectContaining({ code: 'conflict', message: containing(id) }));
    work.resolve(result);
    await settled();
    expect(start()).not.toBe(id);
  });

  it('is not found under an id that never was', () => {
    expect(() => new Operations(new VirtualTime()).show('x')).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    );
  });

  it('is forgotten when as many newer ones have ended as are kept', async () => {
    const operations = new Operations(new VirtualTime());
    const ids: string[] = [];
    for (let count = 0; count <= FINISHED_OPERATIONS_MAX; count += 1) {
      ids.push(operations.start('pool-verify', async () => await Promise.resolve(result)).id);
      await settled();
    }
    expect(() => operations.show(ids[0] ?? '')).toThrow(OperationError);
    expect(operations.show(ids[1] ?? '').state).toBe('succeeded');
  });
});
