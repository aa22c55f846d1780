/** What every protocol's connections are bounded by. */
import type { OutputPoolLimits } from './output-pool.ts';

export interface ConnectionLimits extends OutputPoolLimits {
  /** Connections in all phases; one more is refused. */
  readonly connectionsMax: number;
  /** Output of one connection that the kernel has not taken: beyond it no read is started. */
  readonly outputMaxBytes: number;
  /** A connection that holds shared memory which others wait for, and moves nothing for this long, is dropped. */
  readonly stallMs: number;
  /** After we ended the stream the client has this long to close its side. */
  readonly lingerMs: number;
}

const mebibyte = 1 << 20;

export const connectionLimits: ConnectionLimits = {
  connectionsMax: 4096,
  outputMaxBytes: 4 * mebibyte,
  outputPoolMaxBytes: 256 * mebibyte,
  outputPoolKeepBytes: 32 * mebibyte,
  stallMs: 5000,
  lingerMs: 5000,
};

/** Log lines about misbehaving clients per window; more are counted only. */
export const warningLinesMax = 20;
/** A window that overflowed makes the next one twice as long, up to the maximum. */
export const warningWindowMs = 10_000;
export const warningWindowMaxMs = 640_000;
