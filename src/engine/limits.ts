/** Thresholds and waits of the engine. */

/** Share of the pool's effective capacity by which use must fall below the soft limit until hosts are told again that space runs short
 *  (SCSI 38/07): a pool that hovers at the limit does not tell them every minute. */
export const SPACE_RECOVERED_SHARE = 0.02;
/** How often that is looked at. */
export const SPACE_CHECK_MS = 2_000;
