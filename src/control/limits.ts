/** Maxima and waits of the control plane. */

/** First and longest wait before a dead engine is started again. */
export const RESTART_DELAY_FIRST_MS = 100;
export const RESTART_DELAY_MAX_MS = 10_000;
/** The part of a wait that chance may take off it. */
export const RESTART_JITTER = 0.25;
/** An engine that ran this long was well: it is started again at once, and the wait after that is the first one again. */
export const RESTART_HEALTHY_AFTER_MS = 60_000;
/** Engine starts that fail one after the other before the daemon's own start is given up. */
export const FIRST_START_ATTEMPTS_MAX = 5;
/** The API is loaded when the engine serves, or after this: before that it would take the processor from the engine. */
export const API_PATIENCE_MS = 1_000;
/** How often a starting engine's socket is tried. */
export const ATTACH_POLL_MS = 10;
/** A starting engine is mentioned in the log this often while it recovers. */
export const ATTACH_REPORT_MS = 10_000;
/** An engine whose socket accepts must say hello within this. */
export const HELLO_TIMEOUT_MS = 5_000;
/** How long the owner of a locked pool gets to answer on its socket before the pool is called taken. */
export const LOCKED_PATIENCE_MS = 10_000;
/** A process whose control connection closed has this long to be seen ended. */
export const EXIT_GRACE_MS = 2_000;
/** An engine gets this long to drain, seal and close. */
export const STOP_WITHIN_MS = 10_000;
/** After `STOP_WITHIN_MS` an engine gets this much more to be gone before it is killed. */
export const STOP_GRACE_MS = 2_000;
/** Lines of the engine's log that are shown when it ends unasked. */
export const LAST_WORDS_LINES = 5;
/** Finished operations that can still be asked for. */
export const FINISHED_OPERATIONS_MAX = 100;
/** Shared keys of NBD over TLS: as many as the engine takes. */
export const SHARED_KEYS_MAX = 256;
/** Certificates are made for this long; a server's is made again at the first start in its last days. */
export const AUTHORITY_DAYS = 3650;
export const CERTIFICATE_DAYS = 730;
export const RENEW_BEFORE_DAYS = 30;
/** A portal that could not be opened is tried again after this: its address may be there by then. */
export const PORTAL_RETRY_MS = 10_000;
/** Extents of one answer about a diff, buckets and quiet gaps of a rate of change, unless told. */
export const DIFF_EXTENTS = 4096;
export const RATE_BUCKETS = 60;
export const RATE_GAPS = 8;
