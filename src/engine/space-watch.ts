/** Watches how full the pool is, and has hosts told when it gets full: once each time that it passes the threshold. */
import type { Log, Timer, Timers } from '../base/ports.ts';
import { SPACE_CHECK_MS, SPACE_RECOVERED_SHARE } from './limits.ts';

interface WatchedSpace {
  readonly usedBytes: number;
  /** What the limits are parts of. */
  readonly effectiveCapacityBytes: number;
  readonly softLimitBytes: number;
}

/** Who is told. */
interface SpaceListener {
  spaceLow(): void;
  spaceRecovered(): void;
}

interface SpaceWatchHost {
  readonly space: () => WatchedSpace;
  readonly timers: Timers;
  readonly log: Log;
}

export class SpaceWatch {
  readonly #host: SpaceWatchHost;
  readonly #listener: SpaceListener;
  #isLow = false;
  #timer: Timer | undefined;

  /** Looks at once, and then every few seconds until `stop`. */
  constructor(host: SpaceWatchHost, listener: SpaceListener) {
    this.#host = host;
    this.#listener = listener;
    this.#look();
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { usedBytes, effectiveCapacityBytes, softLimitBytes } = this.#host.space();
    const recoveredBytes = softLimitBytes - effectiveCapacityBytes * SPACE_RECOVERED_SHARE;
    if (!this.#isLow && usedBytes >= softLimitBytes) {
      this.#isLow = true;
      this.#host.log.warn('space runs short: hosts are told', {
        usedBytes,
        effectiveCapacityBytes,
      });
      this.#listener.spaceLow();
    } else if (this.#isLow && usedBytes < recoveredBytes) {
      this.#isLow = false;
      this.#host.log.info('there is space again', { usedBytes, effectiveCapacityBytes });
      this.#listener.spaceRecovered();
    }
    this.#timer = this.#host.timers.after(SPACE_CHECK_MS, () => {
      this.#look();
    });
  }
}
