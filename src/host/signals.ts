/** What ends this process: signals that ask it to stop, and its own mistakes. */

/** A terminal's Ctrl-C reaches the daemon twice when npm forwards it too: repeats this soon are one request. */
const REPEAT_WITHIN_MS = 1_000;

/**
 * Calls `stop` at the first SIGTERM, SIGINT or SIGHUP and `force` at a later one.
 */
export function onStopSignal(
  stop: (signal: string) => void,
  force: (signal: string) => void,
): void {
  let firstMs: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const nowMs = performance.now();
      if (firstMs === undefined) {
        firstMs = nowMs;
        stop(signal);
      } else if (nowMs - firstMs > REPEAT_WITHIN_MS) {
        force(signal);
      }
    });
  }
}

/** Has `report` write down what is about to end this process: an error that nobody caught. The process ends all the same. */
export function onCrash(report: (error: Error) => void): void {
  process.on('uncaughtExceptionMonitor', report);
}

/** A terminal or pipe that went away must not end a daemon that only wanted to tell it something. */
export function ignoreLostOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
