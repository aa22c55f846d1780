/** Maxima of the API server. */

/** The longest request body: two names and a number need a few hundred bytes. */
export const REQUEST_BODY_MAX_BYTES = 64 * 1024;
/** A request must have arrived whole within this. */
export const REQUEST_TIMEOUT_MS = 30_000;
/** Connections at the same time; more wait in the kernel's queue or are refused. */
export const API_CONNECTIONS_MAX = 128;
/** Answers of validation name at most this many faults. */
export const VALIDATION_FAULTS_MAX = 8;
