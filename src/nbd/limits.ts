/** Every bound of the NBD room. What a client can make the server hold or wait for is limited by one of these. */

import { type ConnectionLimits, connectionLimits } from '../base/connection-limits.ts';

export interface NbdLimits extends ConnectionLimits {
  /** From accept to the transmission phase. */
  readonly handshakeMs: number;
  /** Handshakes under way at once; one more and the oldest is dropped, so that newcomers are never locked out. */
  readonly unfinishedHandshakesMax: number;
  /** Requests of one connection that are not answered yet; then its socket is not read. */
  readonly requestsInFlightMax: number;
  /** Payload bytes of those requests, read or written. A single larger request is admitted alone. */
  readonly bytesInFlightMax: number;
}

const mebibyte = 1 << 20;

export const nbdLimits: NbdLimits = {
  ...connectionLimits,
  handshakeMs: 10_000,
  unfinishedHandshakesMax: 256,
  requestsInFlightMax: 256,
  bytesInFlightMax: 64 * mebibyte,
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
