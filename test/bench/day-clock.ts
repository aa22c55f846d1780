/** A clock that goes faster: for `bench day` and its engine, which must agree on what time it is. */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../../src/base/ports.ts';

export interface DayTime {
  /** When it began, by the machine; and what time it was then by this clock. Milliseconds since 1970. */
  readonly originMs: number;
  readonly originWallMs: number;
  readonly speed: number;
}

/** Wall and monotonic time go by `speed` times faster than the machine's, without steps. */
export function dayClock({ originMs, originWallMs, speed }: DayTime): Clock {
  const startMs = performance.timeOrigin - originMs;
  return {
    wallMs: () => originWallMs + (startMs + performance.now()) * speed,
    monotonicMs: () => performance.now() * speed,
  };
}
