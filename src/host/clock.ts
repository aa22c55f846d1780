/** The machine's clocks, timers and random source behind their ports. */
import { randomFillSync } from 'node:crypto';
import type { Clock, Random } from '../base/ports.ts';

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

export const systemRandom: Random = {
  fill: (target) => {
    randomFillSync(target);
  },
};
