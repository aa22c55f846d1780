/** In a simulated run milliseconds pass where a pool has hours: what the cleaner waits for is made as small. */
import { cleanerLimits } from '../../src/volume/cleaner/limits.ts';

const eager = { logSegments: 0.5, logShare: 0, pauseMs: 2, pauseFactor: 0 };

const thinning = { keptShareMax: 0.999, entriesMin: 1 };

export function makeCleanerEager(): void {
  Object.assign(cleanerLimits, {
    markAfter: { none: eager, soft: eager, hard: eager },
    idleDoublingsMax: 0,
    // Runs are thinned as soon as anything in them is not needed, again and again.
    thinWhen: { none: thinning, soft: thinning, hard: thinning },
    lookEveryMs: 2,
    firstLookAfterMs: 1,
    // Survivors are copied although there is room.
    fillAtLeast: { none: 0.8, soft: 0.85, hard: 0.95 },
  });
}
