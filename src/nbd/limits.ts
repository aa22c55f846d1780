/** Every bound of the NBD room. What a client can make the server hold or wait for is limited by one of these. */

import type { OutputPoolLimits } from '../base/output-pool.ts';

export interface NbdLimits extends OutputPoolLimits {
  /** From accept to the transmission phase. */
  readonly handshakeMs: number;
  /** Handshakes under way at once; one more and the oldest is dropped, so that newcomers are never locked out. */
  readonly unfinishedHandshakesMax: number;
  /** Connections in all phases; one more is refused. */
  readonly connectionsMax: number;
  /** Requests of one connection that are not answered yet; then its socket is not read. */
  readonly requestsInFlightMax: number;
  /** Payload bytes of those requests, read or written. A single larger request is admitted alone. */
  readonly bytesInFlightMax: number;
  /** Output of one connection that the kernel has not taken: beyond it no read is started. */
  readonly outputMaxBytes: number;
  /** A connection that holds shared memory which others wait for, and moves nothing for this long, is dropped. */
  readonly stallMs: number;
  /** After we ended the stream the client has this long to close its side. */
  readonly lingerMs: number;
}

const mebibyte = 1 << 20;

export const nbdLimits: NbdLimits = {
  handshakeMs: 10_000,
  unfinishedHandshakesMax: 256,
  connectionsMax: 4096,
  requestsInFlightMax: 256,
  bytesInFlightMax: 64 * mebibyte,
  outputMaxBytes: 4 * mebibyte,
  outputPoolMaxBytes: 256 * mebibyte,
  outputPoolKeepBytes: 32 * mebibyte,
  stallMs: 5000,
  lingerMs: 5000,
};

/** Payload size promised in INFO_BLOCK_SIZE. */
export const payloadAdvertisedBytes = 32 * mebibyte;
/** Payload size accepted: clients exist that send more than was promised. */
export const payloadMaxBytes = 64 * mebibyte;
/** Reads longer than this ask for extents first, so that holes inside them travel as holes. */
export const extentsFirstBytes = 64 * 1024;
/** Requests of one connection taken in one turn: the others' turn comes then. Measured: 1 to 3 ms. */
export const requestsPerTurnMax = 1024;
/** Extents asked for at once while splitting one read. */
export const readExtentsMax = 256;
/** Extents of one BLOCK_STATUS reply. The client asks again for the rest. */
export const statusExtentsMax = 32_768;
/** Option data that is kept and understood. */
export const optionDataMaxBytes = 64 * 1024;
/** Longer option data is skipped and refused up to here; beyond it the connection is dropped. */
export const optionSkipMaxBytes = mebibyte;
/** Longest name or query; the protocol's own limit. */
export const stringMaxBytes = 4096;
/** Queries in one meta context option. */
export const metaQueriesMax = 256;
/** Handshake replies that the client has not taken: beyond it no further option is read. */
export const handshakeOutputMaxBytes = 256 * 1024;
/** Log lines about misbehaving clients per window; more are counted only. */
export const breachLinesMax = 20;
export const breachWindowMs = 10_000;
