/** Thresholds and waits of the engine. */

/** Share of the pool's effective capacity by which use must fall below the soft limit until hosts are told again that space runs short
 *  (SCSI 38/07): a pool that hovers at the limit does not tell them every minute. */
export const SPACE_RECOVERED_SHARE = 0.02;
/** How often that is looked at. */
export const SPACE_CHECK_MS = 2_000;
/**
 * Nice value of the keeper thread: with both processors taken the main thread goes first, and the keeper still gets a quarter of one.
 * Measured with a main thread that works 15 % of the time and two threads that work all of it, on two processors with much other
 * load: delay of its event loop p50 1.2 to 1.9 ms without, 0.4 with; p99 51 to 56 ms without, 30 to 35 with.
 */
export const KEEPER_NICE = 5;
