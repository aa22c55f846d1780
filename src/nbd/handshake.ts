/**
 * Fixed newstyle handshake, NBD protocol "Handshake phase": a state machine over the client's bytes.
 *
 *     flags ─▶ header ─▶ data ─▶ (answer) ─▶ header ...          one option at a time
 *                │                  │ └─▶ opening ─▶ (answer) ─▶ header
 *                └─▶ skipping ──────┘            └─▶ transmission   GO, EXPORT_NAME
 *                                                └─▶ done           STARTTLS: a new handshake goes on over TLS
 *
 * The export that a client asks about is opened once and kept until it asks for another one or enters transmission.
 *
 * Invariants
 * 1. The next option is looked at only after the final reply to the last was given out.
 * 2. Bytes kept are bounded: a header, or option data up to its limit.
 * 3. A failed SET_META_CONTEXT leaves no context selected.
 */

import { concatenate } from '../base/bytes.ts';
import { blockSizeBytes } from '../device/block-device.ts';
import { contextsOf, isListed, isNamed } from './contexts.ts';
import type { NbdExports, NbdOpenExport } from './exports.ts';
import type { Agreement } from './lane.ts';
import { optionDataMaxBytes, optionSkipMaxBytes, payloadAdvertisedBytes } from './limits.ts';
import {
  type ClientFlags,
  clientFlagsBytes,
  decodeClientFlags,
  encodeGreeting,
} from './wire/greeting.ts';
import {
  decodeInfoRequest,
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeExportNameReply,
  encodeTextInfo,
  Info,
  TransmissionFlag,
} from './wire/info.ts';
import {
  allocationContextId,
  decodeMetaRequest,
  dirtyBitmapContextId,
  encodeMetaContext,
} from './wire/meta-context.ts';
import {
  decodeOptionHeader,
  encodeOptionError,
  encodeOptionReply,
  encodeServerReply,
  Option,
  optionHeaderBytes,
  Reply,
} from './wire/option.ts';
import { decodeText } from './wire/text.ts';

export interface HandshakeResult {
  readonly opened: NbdOpenExport;
  readonly agreement: Agreement;
}

export interface HandshakeOwner {
  readonly exports: NbdExports;
  /** Whether the server is stopping: exports are refused then. */
  readonly isStopping: boolean;
  /** Takes over `bytes`. */
  send(bytes: Uint8Array): void;
  /** Whether the client takes its replies; else no further option is read. */
  canSend(): boolean;
  /** Input that was left over can be offered again. */
  onReady(): void;
  /** STARTTLS was granted: nothing is read any more; `ack` leaves in the clear, then TLS begins. Takes over `ack`. */
  onStartTls(ack: Uint8Array): void;
  /** Takes over the open export. */
  onAgreed(result: HandshakeResult): void;
  /** The client said goodbye: end after what was sent has left. */
  onEnd(): void;
  onBreach(reason: string): void;
}

type State = 'flags' | 'header' | 'data' | 'skipping' | 'opening' | 'done';

/** Off: not offered. Required: nothing goes on in the clear. Done: it is under us. */
export type TlsPhase = 'off' | 'required' | 'done';

/** What GO, INFO and EXPORT_NAME need to remember while the export is being opened. */
type AfterOpen = (opened: NbdOpenExport) => void;

export class Handshake {
  readonly #owner: HandshakeOwner;
  readonly #tls: TlsPhase;
  #state: State;
  /** What is being collected: exactly as long as needed. */
  #kept: Uint8Array<ArrayBuffer>;
  #keptBytes = 0;
  #skipBytes = 0;
  #option = 0;
  #flags: ClientFlags | undefined;
  #isStructured = false;
  /** Name for which contexts were selected, and their ids. */
  #contextExport: string | undefined;
  #contextIds: readonly number[] = [];
  #opened: NbdOpenExport | undefined;
  /** The name that `#opened` was asked for by. */
  #openedBy = '';

  /** With `flags` the client said its flags before, in the clear: all that outlives STARTTLS. */
  constructor(owner: HandshakeOwner, tls: TlsPhase, flags?: ClientFlags) {
    this.#owner = owner;
    this.#tls = tls;
    this.#flags = flags;
    this.#state = flags === undefined ? 'flags' : 'header';
    this.#kept = new Uint8Array(flags === undefined ? clientFlagsBytes : optionHeaderBytes);
  }

  /** What the client said first; undefined until then. */
  get flags(): ClientFlags | undefined {
    return this.#flags;
  }

  /** The export that the client has open for its questions. */
  get opened(): NbdOpenExport | undefined {
    return this.#opened;
  }

  /** `consume` must be called again when the client took some output, even without new bytes. */
  get isWaiting(): boolean {
    return this.#state !== 'opening' && this.#state !== 'done' && this.#isComplete();
  }

  greet(): void {
    this.#owner.send(encodeGreeting());
  }

  /** Takes what can be taken of `bytes[start, end)`; returns where it stopped. Stops for good when agreed or dropped. */
  consume(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (this.#canRead() && (at < end || this.#isComplete())) {
      if (this.#state === 'skipping') at = this.#skip(at, end);
      else at = this.#keep(bytes, at, end);
      if (this.#isComplete()) this.#step();
    }
    return at;
  }

  /** The stream is gone or the server drops it: gives the export back. */
  close(): void {
    this.#state = 'done';
    this.#release();
  }

  #canRead(): boolean {
    if (this.#state === 'opening' || this.#state === 'done') return false;
    return this.#owner.canSend();
  }

  #isComplete(): boolean {
    if (this.#state === 'skipping') return this.#skipBytes === 0;
    return this.#keptBytes === this.#kept.length;
  }

  #keep(bytes: Uint8Array, at: number, end: number): number {
    const count = Math.min(end - at, this.#kept.length - this.#keptBytes);
    this.#kept.set(bytes.subarray(at, at + count), this.#keptBytes);
    this.#keptBytes += count;
    return at + count;
  }

  #skip(at: number, end: number): number {
    const count = Math.min(end - at, this.#skipBytes);
    this.#skipBytes -= count;
    return at + count;
  }

  #expect(state: State, neededBytes: number): void {
    this.#state = state;
    this.#kept = new Uint8Array(neededBytes);
    this.#keptBytes = 0;
  }

  #step(): void {
    switch (this.#state) {
      case 'flags':
        this.#readFlags();
        return;
      case 'header':
        this.#readHeader();
        return;
      case 'data':
        this.#readData();
        return;
      case 'skipping':
        this.#expect('header', optionHeaderBytes);
        if (!this.#refusedForTls()) {
          this.#refuse(Reply.errorTooBig, 'the data of this option is too long');
        }
        return;
      case 'opening':
      case 'done':
    }
  }

  #readFlags(): void {
    const flags = decodeClientFlags(this.#kept);
    if (flags === undefined) {
      this.#breach('the client set flags that do not exist');
      return;
    }
    this.#flags = flags;
    this.#expect('header', optionHeaderBytes);
  }

  #readHeader(): void {
    const header = decodeOptionHeader(this.#kept);
    if (header === undefined) {
      this.#breach('an option does not begin with its magic');
      return;
    }
    this.#option = header.option;
    if (this.#flags?.isFixedNewstyle !== true && header.option !== Option.exportName) {
      this.#breach('options need the fixed newstyle flag');
      return;
    }
    if (header.length <= optionDataMaxBytes) {
      this.#expect('data', header.length);
      return;
    }
    if (header.length > optionSkipMaxBytes || header.option === Option.exportName) {
      this.#breach('an option has absurdly long data');
      return;
    }
    this.#skipBytes = header.length;
    this.#state = 'skipping';
  }

  #readData(): void {
    const data = this.#kept;
    this.#expect('header', optionHeaderBytes);
    if (this.#refusedForTls()) return;
    switch (this.#option) {
      case Option.exportName:
        this.#exportName(data);
        return;
      case Option.abort:
        this.#ack();
        this.#state = 'done';
        this.#owner.onEnd();
        return;
      case Option.list:
        this.#list(data);
        return;
      case Option.info:
      case Option.go:
        this.#infoOrGo(data);
        return;
      case Option.structuredReply:
        this.#structuredReply(data);
        return;
      case Option.listMetaContext:
      case Option.setMetaContext:
        this.#metaContext(data);
        return;
      case Option.starttls:
        this.#startTls(data);
        return;
      default:
        this.#refuse(Reply.errorUnsupported, `option ${this.#option} is not known here`);
    }
  }

  // ---- options

  #startTls(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(Reply.errorInvalid, 'STARTTLS takes no data');
    } else if (this.#tls === 'done') {
      this.#refuse(Reply.errorInvalid, 'TLS is in use already');
    } else if (this.#tls === 'off') {
      this.#refuse(Reply.errorUnsupported, 'TLS is not offered here');
    } else if (!this.#refusedForStopping()) {
      this.#state = 'done';
      this.#release();
      this.#owner.onStartTls(encodeOptionReply(Option.starttls, Reply.ack));
    }
  }

  #exportName(data: Uint8Array): void {
    const name = decodeText(data);
    if (name === undefined || this.#owner.isStopping) {
      this.#breach('the name of the export is malformed, or the server is stopping');
      return;
    }
    this.#open(name, (opened) => {
      const { sizeBytes } = opened.device;
      const hasZeroes = this.#flags?.wantsNoZeroes !== true;
      this.#owner.send(
        encodeExportNameReply(sizeBytes, this.#transmissionFlags(opened), hasZeroes),
      );
      this.#agree(opened, name, sizeBytes);
    });
  }

  #list(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(Reply.errorInvalid, 'LIST takes no data');
      return;
    }
    const replies = this.#owner.exports
      .list()
      .map(({ name, description }) => encodeServerReply(name, description));
    replies.push(encodeOptionReply(Option.list, Reply.ack));
    this.#owner.send(concatenate(replies));
  }

  #infoOrGo(data: Uint8Array): void {
    const asked = decodeInfoRequest(data);
    if (asked === undefined) {
      this.#refuse(Reply.errorInvalid, 'the lengths inside the option do not add up');
      return;
    }
    if (this.#refusedForStopping()) return;
    this.#open(asked.name, (opened) => {
      const { sizeBytes } = opened.device;
      this.#describe(opened, sizeBytes, asked.wantsName);
      this.#ack();
      if (this.#option === Option.go) this.#agree(opened, asked.name, sizeBytes);
    });
  }

  #describe(opened: NbdOpenExport, sizeBytes: number, wantsName: boolean): void {
    this.#sendInfo(encodeExportInfo(sizeBytes, this.#transmissionFlags(opened)));
    const sizes = { minimum: 1, preferred: blockSizeBytes, maximum: payloadAdvertisedBytes };
    this.#sendInfo(encodeBlockSizeInfo(sizes));
    if (wantsName) this.#sendInfo(encodeTextInfo(Info.name, opened.name));
    if (opened.description !== '') {
      this.#sendInfo(encodeTextInfo(Info.description, opened.description));
    }
  }

  #structuredReply(data: Uint8Array): void {
    if (data.length > 0) {
      this.#refuse(Reply.errorInvalid, 'STRUCTURED_REPLY takes no data');
      return;
    }
    this.#isStructured = true;
    this.#ack();
  }

  #metaContext(data: Uint8Array): void {
    const isSet = this.#option === Option.setMetaContext;
    if (isSet) this.#contextExport = undefined;
    if (isSet && !this.#isStructured) {
      this.#refuse(Reply.errorInvalid, 'negotiate structured replies first');
      return;
    }
    const asked = decodeMetaRequest(data);
    if (asked === 'malformed') {
      this.#refuse(Reply.errorInvalid, 'the lengths inside the option do not add up');
      return;
    }
    if (asked === 'too-many') {
      this.#refuse(Reply.errorTooBig, 'too many queries at once');
      return;
    }
    if (this.#refusedForStopping()) return;
    this.#open(asked.name, (opened) => {
      const matches = isSet ? isNamed : isListed;
      const contexts = contextsOf(opened).filter(({ name }) => matches(name, asked.queries));
      if (isSet) {
        this.#contextExport = asked.name;
        this.#contextIds = contexts.map(({ id }) => id);
      }
      for (const { id, name } of contexts) {
        const context = encodeMetaContext(isSet ? id : 0, name);
        this.#owner.send(encodeOptionReply(this.#option, Reply.metaContext, context));
      }
      this.#ack();
    });
  }

  // ---- exports

  /** Calls `then` with the export of that name, now or later; refuses the option when there is none. */
  #open(name: string, then: AfterOpen): void {
    if (this.#opened !== undefined && this.#openedBy === name) {
      then(this.#opened);
      return;
    }
    this.#release();
    this.#state = 'opening';
    let isInside = true;
    this.#owner.exports.open(name, (opened) => {
      if (this.#state === 'done') {
        opened?.close();
        return;
      }
      this.#state = 'header';
      if (opened === undefined) {
        this.#unknown(name);
      } else {
        this.#opened = opened;
        this.#openedBy = name;
        then(opened);
      }
      if (!isInside) this.#owner.onReady();
    });
    isInside = false;
  }

  #unknown(name: string): void {
    if (this.#option === Option.exportName) this.#breach('the client asked for an unknown export');
    else this.#refuse(Reply.errorUnknown, `there is no export named '${name}'`);
  }

  #agree(opened: NbdOpenExport, name: string, sizeBytes: number): void {
    this.#state = 'done';
    this.#opened = undefined;
    const selected = this.#contextExport === name ? this.#contextIds : [];
    const agreement: Agreement = {
      device: opened.device,
      sizeBytes,
      isStructured: this.#isStructured,
      hasAllocationContext: selected.includes(allocationContextId),
      dirtyBitmap: selected.includes(dirtyBitmapContextId) ? opened.dirtyBitmap : undefined,
    };
    this.#owner.onAgreed({ opened, agreement });
  }

  #release(): void {
    const opened = this.#opened;
    this.#opened = undefined;
    opened?.close();
  }

  #transmissionFlags(opened: NbdOpenExport): number {
    const always =
      TransmissionFlag.hasFlags |
      TransmissionFlag.sendFlush |
      TransmissionFlag.sendFua |
      // One state per device: what one connection was answered, every other one reads, and its FLUSH covers.
      TransmissionFlag.canMultiConn |
      TransmissionFlag.sendCache;
    const writable =
      TransmissionFlag.sendTrim | TransmissionFlag.sendWriteZeroes | TransmissionFlag.sendFastZero;
    const access = opened.device.isReadOnly ? TransmissionFlag.readOnly : writable;
    return always | access | (this.#isStructured ? TransmissionFlag.sendDf : 0);
  }

  // ---- replies

  #ack(): void {
    this.#owner.send(encodeOptionReply(this.#option, Reply.ack));
  }

  #sendInfo(data: Uint8Array): void {
    this.#owner.send(encodeOptionReply(this.#option, Reply.info, data));
  }

  #refuse(type: number, message: string): void {
    this.#owner.send(encodeOptionError(this.#option, type, message));
  }

  #refusedForStopping(): boolean {
    if (this.#owner.isStopping) this.#refuse(Reply.errorShutdown, 'the server is stopping');
    return this.#owner.isStopping;
  }

  /** In the clear, where TLS is required, only STARTTLS and ABORT are answered; EXPORT_NAME cannot be refused. */
  #refusedForTls(): boolean {
    const isAllowed = this.#option === Option.starttls || this.#option === Option.abort;
    if (this.#tls !== 'required' || isAllowed) return false;
    if (this.#option === Option.exportName) this.#breach('the client did not start TLS');
    else this.#refuse(Reply.errorTlsRequired, 'TLS is required here: use STARTTLS first');
    return true;
  }

  #breach(reason: string): void {
    this.#state = 'done';
    this.#release();
    this.#owner.onBreach(reason);
  }
}
