/** Maxima of the engine's control socket. */

/**
 * The longest request: `iscsiConfigure` with as many hosts as there may be (1.5 KiB each with two secrets), initiators (230 characters each)
 * and LUN maps (90 characters each). `listen` with certificates and shared keys needs less.
 */
export const REQUEST_LINE_MAX_CHARS = 8 * 1024 * 1024;
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
/** Names in one list: snapshots that are supposed to be deleted. */
export const TEXTS_PARAM_MAX = 4096;
/** A PEM file: a certificate with a chain of several, or a key. */
export const PEM_PARAM_MAX_CHARS = 64 * 1024;
/** Shared keys of one listener. */
export const SHARED_KEYS_MAX = 256;
/** Views made at one cut: their records share a frame, at about 600 bytes each. */
export const VIEWS_AT_ONCE_MAX = 64;
/** Hosts, and LUNs of all of them; the catalog has the same limits. */
export const HOSTS_MAX = 1024;
export const LUNS_MAX = 16_384;
export const LUN_MAX = 16_383;
export const ISCSI_PORTALS_MAX = 32;
/** RFC 7143 section 12.1.3 has room for more; nobody types more. */
export const CHAP_SECRET_MAX_BYTES = 255;
