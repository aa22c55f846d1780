/** Bounds of sessions in full feature phase and of the server. Those of login, text and negotiation are in `limits.ts`. */
import { type ConnectionLimits, connectionLimits } from '../base/connection-limits.ts';

export interface IscsiLimits extends ConnectionLimits {
  /** Logins and discoveries under way at once; one more and the oldest is dropped, so that newcomers are never locked out. */
  readonly unfinishedLoginsMax: number;
  /** Commands of one session that are not answered yet: the CmdSN window. */
  readonly windowSize: number;
  /** Data asked for with R2T and not received or not written yet, per connection. One R2T is always allowed. */
  readonly solicitedMaxBytes: number;
  /** An initiator that was silent for this long is pinged. */
  readonly pingAfterMs: number;
  /** A pinged initiator that stays silent for this long is dropped. */
  readonly pingAnswerMs: number;
}

const mebibyte = 1 << 20;

export const iscsiLimits: IscsiLimits = {
  ...connectionLimits,
  unfinishedLoginsMax: 2048,
  windowSize: 256,
  solicitedMaxBytes: 32 * mebibyte,
  pingAfterMs: 15_000,
  pingAnswerMs: 15_000,
};

/** PDUs of one connection taken in one turn: the others' turn comes then. */
export const pdusPerTurnMax = 1024;
/**
 * Answers beside data (refusals, task management, pings) that one initiator has not taken, on top of `outputMaxBytes`: beyond
 * it nothing at all is read from it. An honest one never gets there: its window bounds what it can be answered.
 */
export const repliesMaxBytes = mebibyte;
/**
 * Task management functions of one session that are not answered yet; one more is rejected. An abort for every command of the
 * window fits: hosts whose aborts are all refused close the connection.
 */
export const managementMax = 512;
/** Immediate SCSI commands in flight: they are outside the window. */
export const immediateCommandsMax = 64;
/** Commands that arrived before their turn are kept up to here, with their data; then the connection is dropped. */
export const heldPdusMax = 512;
export const heldMaxBytes = 2 * mebibyte;
/** Aborted commands whose data may still be on its way. */
export const orphansMax = 1024;
/** How often silent and stalled connections are looked for. */
export const tickMs = 1000;
/** At a planned end: how long what dropped sessions have at the devices is waited for, so that the pool closes behind it. */
export const drainGraceMs = 2000;
/** Login responses that the initiator has not taken: beyond it no further request is read. */
export const loginOutputMaxBytes = 64 * 1024;
