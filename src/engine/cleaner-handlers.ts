/** Control methods of the cleaner. */
import { ErrorCode, OperationError } from '../base/errors.ts';
import type { Pool } from '../volume/pool.ts';
import type { CleanerPass } from '../volume/reports.ts';
import { ask } from './history-handlers.ts';
import type { CleanerInfo } from './protocol.ts';
import type { EngineHandlers } from './rpc.ts';

export function cleanerHandlers(pool: Pool): Pick<EngineHandlers, 'poolClean'> {
  return {
    poolClean: async (_params, progress) => {
      if (pool.readOnlyReason !== undefined) {
        throw new OperationError(
          ErrorCode.readOnly,
          `pool ${pool.name} is read-only: ${pool.readOnlyReason}`,
          'Such a pool is never cleaned.',
        );
      }
      return await ask<CleanerPass>((done) => {
        pool.cleaner.run(progress, done);
      });
    },
  };
}

/** For the pool's status. */
export function cleanerInfo({ cleaner }: Pool): CleanerInfo {
  const status = cleaner.status();
  const { loggedBytes, copiedBytes } = status;
  if (loggedBytes === 0) return status;
  return { ...status, writeAmplification: (loggedBytes + copiedBytes) / loggedBytes };
}
