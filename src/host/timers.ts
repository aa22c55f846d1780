/** Timers of the event loop behind their port. */
import type { Timer, Timers } from '../base/ports.ts';

export const systemTimers: Timers = {
  after: (delayMs: number, action: () => void): Timer => {
    const handle = setTimeout(action, delayMs);
    return {
      cancel: () => {
        clearTimeout(handle);
      },
    };
  },
  defer: (action: () => void): void => {
    setImmediate(action);
  },
};
