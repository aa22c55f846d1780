/** What a benchmark run may take. */

/** Bytes of the device that is measured. */
export const deviceSizeBytes = 1 << 30;
/** Memory that is touched and given back before each server, so that nobody pays for first touches. */
export const preTouchBytes = 3 * 2 ** 30;
/** Share of one processor that other programs may use before a job is repeated. */
export const foreignShareMax = 0.2;
/** A job is repeated at most this often for foreign load; then the figure is marked. */
export const repeatsMax = 2;
export const jobTimeoutMs = 120_000;
/** Tidemark prepares at most seven segments a second; eight are ready well before this. */
export const readyWithinMs = 10_000;
