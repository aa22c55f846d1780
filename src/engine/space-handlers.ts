/** Control methods about space: what the bytes of the pool are there for. */
import type { Pool } from '../volume/pool.ts';
import type { PoolSpace } from '../volume/reports.ts';
import { ask } from './history-handlers.ts';
import type { EngineHandlers } from './rpc.ts';

export function spaceHandlers(pool: Pool): Pick<EngineHandlers, 'poolSpace'> {
  return {
    poolSpace: async ({ volume, deleted, windowMs }, progress) => {
      return await ask<PoolSpace>((done) => {
        pool.spaceAccount({ volume, deleted, windowMs }, progress, done);
      });
    },
  };
}
