/**
 * PDUs that came before their turn: a command before it, by CmdSN, is missing. RFC 7143 section 4.2.2.1.
 *
 *     expCmdSn │ missing │ held 12 │ held 13 │ missing │ held 15 ...
 *
 * On the one connection of a session commands come in order, so a gap means that the initiator lost one (and will abort
 * it, which counts as its arrival) or is broken. What is held is kept as it came, bounded, and replayed in order.
 */
import { headerBytes } from './pdu/header.ts';
import type { PduHeader } from './receiver.ts';
import { heldMaxBytes, heldPdusMax } from './server-limits.ts';

interface HeldPdu {
  /** Header, AHS and data with padding, as on the wire but without digests. */
  readonly bytes: Uint8Array;
  readonly initiatorTaskTag: number;
}

/** What is known of a CmdSN that is not ExpCmdSN yet: its PDU and the Data-Outs behind it, or nothing (it was aborted). */
type Held = HeldPdu[];

const tagOffset = 16;

export class HeldPdus {
  readonly #heldByCmdSn = new Map<number, Held>();
  /** CmdSN of the held command with this tag. */
  readonly #cmdSnByTag = new Map<number, number>();
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#heldByCmdSn.size === 0;
  }

  get isFull(): boolean {
    return this.#bytes > heldMaxBytes || this.#heldByCmdSn.size > heldPdusMax;
  }

  has(cmdSn: number): boolean {
    return this.#heldByCmdSn.has(cmdSn);
  }

  hasTag(initiatorTaskTag: number): boolean {
    return this.#cmdSnByTag.has(initiatorTaskTag);
  }

  /** Keeps a PDU with this number. `data` is copied. */
  hold(cmdSn: number, header: Uint8Array, data: Uint8Array): void {
    const pdu = this.#copy(header, data);
    this.#heldByCmdSn.set(cmdSn, [pdu]);
    this.#cmdSnByTag.set(pdu.initiatorTaskTag, cmdSn);
  }

  /** Keeps a Data-Out behind its command, which is held. */
  holdDataOut(header: Uint8Array, data: Uint8Array): void {
    const pdu = this.#copy(header, data);
    const cmdSn = this.#cmdSnByTag.get(pdu.initiatorTaskTag);
    const held = cmdSn === undefined ? undefined : this.#heldByCmdSn.get(cmdSn);
    // Its command may have been aborted while the data came.
    if (held === undefined) this.#bytes -= pdu.bytes.length;
    else held.push(pdu);
  }

  /** The number counts as arrived, and nothing is done for it. */
  void(cmdSn: number): void {
    this.#forget(this.#heldByCmdSn.get(cmdSn) ?? []);
    this.#heldByCmdSn.set(cmdSn, []);
  }

  /** Like `void`, by the tag of a held command. Returns whether it was held. */
  voidTag(initiatorTaskTag: number): boolean {
    const cmdSn = this.#cmdSnByTag.get(initiatorTaskTag);
    if (cmdSn === undefined) return false;
    this.void(cmdSn);
    return true;
  }

  /** Voids every held PDU that `matches` (header first) among those whose number is accepted. */
  voidAll(matches: (cmdSn: number, header: Uint8Array) => boolean): void {
    for (const [cmdSn, held] of this.#heldByCmdSn) {
      const [first] = held;
      if (first !== undefined && matches(cmdSn, first.bytes)) this.void(cmdSn);
    }
  }

  /** Takes what is held of this number, in order of arrival; empty when it is void. */
  take(cmdSn: number): readonly Uint8Array[] {
    const held = this.#heldByCmdSn.get(cmdSn) ?? [];
    this.#heldByCmdSn.delete(cmdSn);
    this.#forget(held);
    return held.map(({ bytes }) => bytes);
  }

  #copy(header: Uint8Array, data: Uint8Array): HeldPdu {
    const padding = -data.length & 3;
    const bytes = new Uint8Array(header.length + data.length + padding);
    bytes.set(header);
    bytes.set(data, header.length);
    this.#bytes += bytes.length;
    const view = new DataView(bytes.buffer, 0, headerBytes);
    return { bytes, initiatorTaskTag: view.getUint32(tagOffset) };
  }

  #forget(held: Held): void {
    for (const { bytes, initiatorTaskTag } of held) {
      this.#bytes -= bytes.length;
      this.#cmdSnByTag.delete(initiatorTaskTag);
    }
  }
}

/** The header of `pdu` with its AHS: a view. */
export function wholeHeader(pdu: PduHeader): Uint8Array {
  return pdu.bytes.subarray(pdu.at, pdu.at + headerBytes + pdu.ahsBytes);
}
