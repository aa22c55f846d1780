/** Maxima of the engine's control socket. */

/** The longest request: `listen` with certificates (a few KiB each) and as many shared keys as there may be (400 characters each). */
export const REQUEST_LINE_MAX_CHARS = 384 * 1024;
/** The longest answer: a list of 100,000 snapshots at about 400 characters each fits. */
export const ANSWER_LINE_MAX_CHARS = 64 * 1024 * 1024;
/** Requests of one connection that run at the same time; one more is answered `unavailable`. */
export const RUNNING_REQUESTS_MAX = 256;
/** Connections to one engine: a daemon, the one that takes over from it, and people who look. */
export const CONNECTIONS_MAX = 16;
/** A call that is not long by nature is given up after this. */
export const CALL_TIMEOUT_MS = 30_000;
/** Names are at most this long on the wire; the store's own rule is stricter. */
export const TEXT_PARAM_MAX_CHARS = 4096;
/** A PEM file: a certificate with a chain of several, or a key. */
export const PEM_PARAM_MAX_CHARS = 64 * 1024;
/** Shared keys of one listener. */
export const SHARED_KEYS_MAX = 256;
