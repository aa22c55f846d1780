/** Control methods of the scrubber. */
import { ErrorCode, OperationError } from '../base/errors.ts';
import type { Pool } from '../volume/pool.ts';
import type { EngineHandlers } from './rpc.ts';

type ScrubMethod = 'scrubStatus' | 'scrubStart' | 'scrubPause';

export function scrubHandlers(pool: Pool): Pick<EngineHandlers, ScrubMethod> {
  const { scrubber } = pool;
  return {
    scrubStatus: async () => await Promise.resolve(scrubber.status()),
    scrubStart: async ({ bytesPerSecond }) => {
      checkWritable(pool);
      if (bytesPerSecond === 0) throw noRate();
      scrubber.start(bytesPerSecond);
      return await Promise.resolve(scrubber.status());
    },
    scrubPause: async () => {
      checkWritable(pool);
      scrubber.pause();
      return await Promise.resolve(scrubber.status());
    },
  };
}

/** Throws OperationError read-only: such a pool is evidence. */
function checkWritable(pool: Pool): void {
  if (pool.readOnlyReason === undefined) return;
  throw new OperationError(
    ErrorCode.readOnly,
    `pool ${pool.name} is read-only: ${pool.readOnlyReason}`,
    'Run "tidemark pool verify": it reads everything and changes nothing.',
  );
}

function noRate(): OperationError {
  return new OperationError(
    ErrorCode.invalid,
    'a rate of 0 would never end',
    'Pause it with "tidemark pool scrub pause".',
  );
}
