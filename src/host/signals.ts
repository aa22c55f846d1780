/** Signals that ask this process to stop. */

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
