/** Thresholds and waits of the engine. */

/** Share of the pool's capacity from which hosts are told that space runs short (SCSI 38/07). */
export const SPACE_LOW_SHARE = 0.85;
/** Below this share they may be told again: a pool that hovers at the threshold does not tell them every minute. */
export const SPACE_RECOVERED_SHARE = 0.83;
/** How often that is looked at. */
export const SPACE_CHECK_MS = 2_000;
