/**
 * Full feature phase of one session: brings its PDUs into order and to whom they concern.
 *
 *     PDU ─▶ CmdSN ┬ outside the window ─▶ ignored in silence
 *                  ├ not its turn yet ───▶ held ─▶ replayed in order
 *                  └ its turn, immediate ─▶ Commands · TaskManagement · text · ping · logout ─▶ Output
 *     Data-Out (it has no CmdSN) ─▶ Commands
 *
 * Invariants
 * 1. What is non-immediate is looked at in the order of CmdSN, each number once.
 * 2. A ping is answered whatever the devices do: nothing in this room waits for them.
 * 3. An initiator that does not take its answers gets no further commands in.
 */
import { viewOf } from '../base/fields.ts';
import { type Output, smallRepliesMaxBytes } from '../base/output.ts';
import { smallBufferBytes } from '../base/output-pool.ts';
import type { Nexus } from '../scsi/nexus.ts';
import { Commands } from './commands.ts';
import { HeldPdus, wholeHeader } from './held-pdus.ts';
import { Place } from './iscsi-task.ts';
import type { Lane, SessionCounters, Shared } from './lane.ts';
import type { LoginOutcome } from './login.ts';
import { header, headerBytes, isImmediate, noTag, Opcode, opcodeOf } from './pdu/header.ts';
import { decodeLogoutRequest, LogoutReason, type LogoutRequest } from './pdu/logout-request.ts';
import { LogoutAnswer } from './pdu/logout-response.ts';
import { decodeNopOut, newNopOut } from './pdu/nop-out.ts';
import { RejectReason } from './pdu/reject.ts';
import { scsiCommand } from './pdu/scsi-command.ts';
import { decodeTaskManagementRequest } from './pdu/task-management-request.ts';
import { decodeTextRequest } from './pdu/text-request.ts';
import { PduWriter } from './pdu-writer.ts';
import { Admission, type PduHeader, type PduSink, Receiver } from './receiver.ts';
import { Responses } from './responses.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { pdusPerTurnMax, repliesMaxBytes } from './server-limits.ts';
import { TaskManagement } from './task-management.ts';
import type { TextExchange } from './text-exchange.ts';

export interface FullFeatureOwner {
  markTurn(): void;
  onBreach(reason: string): void;
  /** The initiator logs out: end its tasks, then call `done`, upon which the answer is sent. */
  onLogout(done: () => void): void;
  /** The answer to its logout was sent: end the stream. */
  onLoggedOut(): void;
}

export interface FullFeatureParts {
  readonly outcome: LoginOutcome;
  readonly nexus: Nexus | undefined;
  readonly counters: SessionCounters;
  readonly shared: Shared;
  readonly output: Output;
  readonly text: TextExchange;
  readonly owner: FullFeatureOwner;
}

/** What is done with a data segment once it is whole. */
type Gathering = 'none' | 'echo' | 'text' | 'hold' | 'holdDataOut';

const pingTagMin = 1;

export class FullFeature implements PduSink {
  readonly #lane: Lane;
  readonly #owner: FullFeatureOwner;
  readonly #cid: number;
  readonly #text: TextExchange;
  readonly #commands: Commands;
  readonly #tasks: TaskManagement;
  readonly #held = new HeldPdus();
  readonly #nop = newNopOut();
  /** Reads what was held; its PDUs carry no digests. */
  readonly #replay: Receiver;
  #replayQueue: Uint8Array[] = [];
  #replayAt = 0;
  #isReplaying = false;
  /** A data segment of the connection's own stream is under way. */
  #isMidPdu = false;
  #gathering: Gathering = 'none';
  /** Header of the PDU whose data is gathered. */
  #gatheredHeader = new Uint8Array(headerBytes);
  #takenInTurn = 0;
  #pingTag = pingTagMin;
  #isLoggingOut = false;

  constructor(parts: FullFeatureParts) {
    const { outcome, nexus, counters, shared, output, owner } = parts;
    const { parameters } = outcome;
    const { limits } = shared;
    const numbers = new SequenceNumbers(outcome.expCmdSn, outcome.statSn, limits.windowSize);
    const writer = new PduWriter(output, parameters);
    const responses = new Responses(writer, numbers);
    this.#owner = owner;
    this.#cid = outcome.cid;
    this.#text = parts.text;
    this.#lane = {
      ...shared,
      parameters,
      nexus,
      numbers,
      writer,
      responses,
      counters,
      markTurn: () => {
        owner.markTurn();
      },
    };
    this.#commands = new Commands(this.#lane);
    this.#tasks = new TaskManagement(this.#lane, this.#commands, this.#held, () => {
      owner.markTurn();
    });
    this.#replay = new Receiver(this);
  }

  /** Nothing of the initiator is under way. */
  get isIdle(): boolean {
    return this.#commands.inFlightCount === 0 && this.#tasks.pendingCount === 0;
  }

  /** Memory for data lies here and waits for bytes of the initiator. */
  get isHalfFilled(): boolean {
    return this.#commands.isHalfFilled;
  }

  get segmentCount(): number {
    return this.#commands.segmentCount;
  }

  /** What waited goes on. */
  endTurn(): void {
    this.#takenInTurn = 0;
    this.#commands.endTurn();
    if (!this.#held.isEmpty || this.#replayQueue.length > 0) this.#replayHeld();
  }

  /** Asks the initiator for a sign of life. */
  ping(): void {
    this.#lane.responses.ping(this.#pingTag);
    this.#pingTag = this.#pingTag === noTag - 1 ? pingTagMin : this.#pingTag + 1;
  }

  requestLogout(seconds: number): void {
    this.#lane.responses.requestLogout(seconds);
  }

  /** The connection is gone. */
  close(): void {
    this.#isLoggingOut = true;
    this.#replayQueue = [];
    this.#tasks.close();
    this.#commands.close();
  }

  // ---- PDUs

  onHeader(pdu: PduHeader): Admission {
    if (this.#isLoggingOut) return Admission.skip;
    if (this.#isOverfull) return Admission.later;
    if (!this.#isReplaying && this.#mustReplay()) return Admission.later;
    if (pdu.dataBytes > this.#lane.parameters.maxRecvDataSegmentLength) {
      this.#owner.onBreach('a data segment is longer than agreed');
      return Admission.stop;
    }
    if (this.#takenInTurn >= pdusPerTurnMax) {
      this.#owner.markTurn();
      return Admission.later;
    }
    const opcode = opcodeOf(pdu.view, pdu.at);
    const admission =
      opcode === Opcode.dataOut ? this.#onDataOut(pdu) : this.#onRequest(pdu, opcode);
    if (admission !== Admission.later) this.#takenInTurn += 1;
    const hasSegment = admission === Admission.take || admission === Admission.gather;
    if (!this.#isReplaying) this.#isMidPdu = hasSegment && pdu.dataBytes > 0;
    if (!this.#held.isEmpty) this.#lane.markTurn();
    return admission;
  }

  onData(bytes: Uint8Array, start: number, end: number): number {
    return this.#commands.onData(bytes, start, end);
  }

  onDataEnd(isGood: boolean): void {
    this.#segmentOver();
    this.#commands.onDataEnd(isGood);
  }

  onGathered(data: Uint8Array, isGood: boolean): void {
    const gathering = this.#gathering;
    this.#gathering = 'none';
    this.#segmentOver();
    if (!isGood) {
      // The initiator repeats what it wants: of these PDUs nothing depends on the data.
      this.#lane.responses.reject(RejectReason.dataDigestError, this.#gatheredHeader);
      return;
    }
    if (gathering === 'echo') this.#echo(data);
    else if (gathering === 'text') this.#onText(data);
    else if (gathering === 'hold') this.#hold(data);
    else if (gathering === 'holdDataOut') this.#held.holdDataOut(this.#gatheredHeader, data);
    if (this.#held.isFull) this.#owner.onBreach('too many commands came before their turn');
  }

  onBreach(reason: string): void {
    this.#owner.onBreach(reason);
  }

  #segmentOver(): void {
    if (!this.#isReplaying) this.#isMidPdu = false;
    if (!this.#held.isEmpty) this.#lane.markTurn();
  }

  #onDataOut(pdu: PduHeader): Admission {
    if (this.#lane.nexus === undefined) return this.#refuse(RejectReason.protocolError, pdu);
    if (!this.#held.isEmpty) {
      const tag = header.initiatorTaskTag.get(pdu.view, pdu.at);
      if (this.#held.hasTag(tag)) return this.#gather('holdDataOut', pdu);
    }
    return this.#commands.onDataOutPdu(pdu);
  }

  /** Everything that has a CmdSN, and what nobody knows. */
  #onRequest(pdu: PduHeader, opcode: number): Admission {
    if (opcode === Opcode.snackRequest) return this.#refuse(RejectReason.snackReject, pdu);
    if (opcode === Opcode.loginRequest) return this.#refuse(RejectReason.protocolError, pdu);
    if (opcode > Opcode.logoutRequest) return this.#refuse(RejectReason.commandNotSupported, pdu);
    const { numbers } = this.#lane;
    const isNow = isImmediate(pdu.view, pdu.at);
    if (!isNow) {
      const cmdSn = scsiCommand.cmdSn.get(pdu.view, pdu.at);
      if (!numbers.isInWindow(cmdSn)) return Admission.skip;
      if (cmdSn !== numbers.expCmdSn) {
        return this.#held.has(cmdSn) ? Admission.skip : this.#gather('hold', pdu);
      }
    }
    if (!this.#hasRoom(pdu.dataBytes, opcode)) return Admission.later;
    if (!isNow) numbers.advance();
    if (opcode === Opcode.scsiCommand) return this.#onCommand(pdu, isNow);
    if (!isNow) numbers.release();
    return this.#onOther(pdu, opcode);
  }

  #onCommand(pdu: PduHeader, isNow: boolean): Admission {
    const isRefused = this.#lane.nexus === undefined;
    if (isRefused || (isNow && !this.#commands.hasRoomForImmediate)) {
      if (!isNow) this.#lane.numbers.release();
      const { immediateCommandReject, protocolError } = RejectReason;
      return this.#refuse(isRefused ? protocolError : immediateCommandReject, pdu);
    }
    return this.#commands.onCommand(pdu, isNow ? Place.immediate : Place.window);
  }

  #onOther(pdu: PduHeader, opcode: number): Admission {
    const { view, at } = pdu;
    switch (opcode) {
      case Opcode.nopOut:
        return this.#onNop(pdu);
      case Opcode.taskManagementRequest:
        if (this.#lane.nexus === undefined) return this.#refuse(RejectReason.protocolError, pdu);
        this.#tasks.onRequest(decodeTaskManagementRequest(view, at));
        return Admission.skip;
      case Opcode.textRequest:
        return this.#gather('text', pdu);
      case Opcode.logoutRequest:
        this.#onLogout(decodeLogoutRequest(view, at));
        return Admission.skip;
      default:
        return this.#refuse(RejectReason.commandNotSupported, pdu);
    }
  }

  /** The initiator sends, and takes none of its answers: refusals cost it nothing, and us memory. */
  get #isOverfull(): boolean {
    const { limits, writer } = this.#lane;
    return writer.output.unsentBytes >= limits.outputMaxBytes + repliesMaxBytes;
  }

  /** Task management and logout come in as long as anything does; what answers with data waits until the initiator took what it has. */
  #hasRoom(dataBytes: number, opcode: number): boolean {
    if (opcode === Opcode.taskManagementRequest || opcode === Opcode.logoutRequest) return true;
    const { limits, pool, writer } = this.#lane;
    const { unsentBytes } = writer.output;
    const hasLarge = pool.hasLarge(1);
    const spare = hasLarge ? limits.outputMaxBytes : 0;
    if (unsentBytes >= spare + smallRepliesMaxBytes) return false;
    const isText = opcode === Opcode.textRequest;
    const isLargeEcho = opcode === Opcode.nopOut && writer.sizeFor(dataBytes) > smallBufferBytes;
    return hasLarge || !(isText || isLargeEcho);
  }

  #gather(what: Gathering, pdu: PduHeader): Admission {
    this.#gathering = what;
    const whole = wholeHeader(pdu);
    // AHS come with SCSI commands only; a header that is kept is copied by who keeps it.
    if (this.#gatheredHeader.length !== whole.length) {
      this.#gatheredHeader = new Uint8Array(whole.length);
    }
    this.#gatheredHeader.set(whole);
    return Admission.gather;
  }

  #refuse(reason: RejectReason, pdu: PduHeader): Admission {
    this.#lane.responses.reject(reason, pdu.bytes.subarray(pdu.at));
    return Admission.skip;
  }

  // ---- pings

  #onNop(pdu: PduHeader): Admission {
    decodeNopOut(pdu.view, pdu.at, this.#nop);
    // An answer to a ping of ours, or a sign of life: that it came is all there is to it.
    if (this.#nop.initiatorTaskTag === noTag) return Admission.skip;
    return this.#gather('echo', pdu);
  }

  #echo(data: Uint8Array): void {
    const { initiatorMaxRecvDataSegmentLength } = this.#lane.parameters;
    const length = Math.min(data.length, initiatorMaxRecvDataSegmentLength);
    this.#lane.responses.echo(this.#nop.initiatorTaskTag, data.subarray(0, length));
  }

  // ---- text

  #onText(data: Uint8Array): void {
    const { responses } = this.#lane;
    const request = decodeTextRequest(viewOf(this.#gatheredHeader), 0);
    const answer = typeof request === 'string' ? request : this.#text.onRequest(request, data);
    if (typeof request === 'string' || typeof answer === 'string') {
      responses.reject(RejectReason.protocolError, this.#gatheredHeader);
    } else {
      responses.text(request.initiatorTaskTag, answer);
    }
  }

  // ---- logout

  #onLogout(request: LogoutRequest): void {
    const { reason, cid, initiatorTaskTag } = request;
    const { responses } = this.#lane;
    if (reason === LogoutReason.removeConnection) {
      responses.logout(initiatorTaskTag, LogoutAnswer.recoveryNotSupported);
      return;
    }
    if (reason === LogoutReason.closeConnection && cid !== this.#cid) {
      responses.logout(initiatorTaskTag, LogoutAnswer.cidNotFound);
      return;
    }
    this.#isLoggingOut = true;
    this.#owner.onLogout(() => {
      responses.logout(initiatorTaskTag, LogoutAnswer.closed);
      this.#owner.onLoggedOut();
    });
  }

  // ---- held

  #hold(data: Uint8Array): void {
    const cmdSn = scsiCommand.cmdSn.get(viewOf(this.#gatheredHeader), 0);
    this.#held.hold(cmdSn, this.#gatheredHeader, data);
  }

  /** Whether something that was held comes before the next PDU of the connection. */
  #mustReplay(): boolean {
    if (this.#held.isEmpty && this.#replayQueue.length === 0) return false;
    this.#replayHeld();
    return this.#replayQueue.length > 0;
  }

  #replayHeld(): void {
    if (this.#isMidPdu || this.#isReplaying) return;
    const { numbers } = this.#lane;
    this.#isReplaying = true;
    while (this.#replayQueue.length > 0 || this.#held.has(numbers.expCmdSn)) {
      if (this.#replayQueue.length === 0) {
        this.#replayQueue = [...this.#held.take(numbers.expCmdSn)];
        if (this.#replayQueue.length === 0) {
          numbers.advance();
          numbers.release();
        }
      } else if (!this.#replayOne()) break;
    }
    this.#isReplaying = false;
  }

  /** Returns whether the first held PDU went through whole. */
  #replayOne(): boolean {
    const [bytes] = this.#replayQueue;
    if (bytes === undefined) return true;
    this.#replayAt = this.#replay.consume(bytes, viewOf(bytes), this.#replayAt, bytes.length);
    if (this.#replayAt < bytes.length || this.#replay.isWaiting) return false;
    this.#replayAt = 0;
    this.#replayQueue.shift();
    return true;
  }
}
