/** Thresholds and waits of the engine. */

/** Share of the pool's effective capacity by which use must fall below the soft limit until hosts are told again that space runs short
 *  (SCSI 38/07): a pool that hovers at the limit does not tell them every minute. */
export const SPACE_RECOVERED_SHARE = 0.02;
/** How often that is looked at. */
export const SPACE_CHECK_MS = 2_000;
/**
 * Nice value of the engine, where it may have it: what clients wait for goes before all else on the machine. Measured in `bench day` on
 * two processors with much other load, 6 s each, alternating: the main thread waited for a processor 45 to 55 % of the time without,
 * 22 to 47 % with; delay of its event loop p99 15 to 27 ms without, 4 to 29 with. Its own work between two looks: p99.9 2 to 6 ms.
 */
export const ENGINE_NICE = -5;
/**
 * Nice value of the keeper thread: with both processors taken the main thread goes first, and the keeper still gets a quarter of one.
 * Measured with a main thread that works 15 % of the time and two threads that work all of it, on two processors with much other
 * load: delay of its event loop p50 1.2 to 1.9 ms without, 0.4 with; p99 51 to 56 ms without, 30 to 35 with.
 */
export const KEEPER_NICE = 5;
