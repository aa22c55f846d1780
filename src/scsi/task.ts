/**
 * A task as the transport sees it: one command, from its CDB to status, sense and residual.
 *
 *     transport ── submit(task) ─▶ ┌ data-out: onDataOut, then expect + accept per segment ┐
 *                                  ├ data-in:  onDataIn, then read ..., dataInSent         ├─▶ onDone(task)
 *                                  └ neither                                               ┘
 *
 * Tasks are owned and pooled by the transport. From `submit` until `onDone` a task belongs to this room: only the methods
 * below may be called.
 *
 * Invariants
 * 1. `onDone` is called exactly once per submit, as the last call; it may run inside submit, accept, read and dataInSent.
 * 2. `onDataOut` is called inside submit or not at all. `onDataIn` may come later.
 * 3. Every `read` calls its `done` once; `onDone` comes after all of them.
 * 4. After `onDone` nothing of the task is written any more.
 */
import { Command } from './command.ts';
import type { Nexus } from './nexus.ts';
import { type ReadDone, ScsiStatus, TaskAttribute } from './status.ts';

/** The transport's side of a task. Calls may come from inside any method of the task, and of other tasks. */
export interface TaskOwner {
  /** Feed `dataOutLength` bytes. */
  onDataOut(task: Task): void;
  /** `accept` may go on. Remember it and feed at the end of the turn: this is called from inside other work. */
  onRoom(task: Task): void;
  /** Fetch `dataInLength` bytes. */
  onDataIn(task: Task): void;
  onDone(task: Task): void;
}

const noCdb = new Uint8Array(16);

export class Task {
  // Set by the transport before submit.
  nexus: Nexus | undefined;
  /** Decoded with `decodeLun`; -1 names nothing. */
  lun = 0;
  /** At least 16 bytes, kept until `onDone`. */
  cdb: Uint8Array = noCdb;
  attribute: TaskAttribute = TaskAttribute.simple;
  /** Bytes that the initiator says it will send. */
  dataOutBytes = 0;
  /** Bytes that the initiator is ready to receive. */
  dataInBytes = 0;
  owner: TaskOwner | undefined;

  // From onDataOut and onDataIn on.
  /** Bytes to feed. `onDone` may come before all of them were fed: drop the rest then. */
  dataOutLength = 0;
  /** Bytes to fetch. */
  dataInLength = 0;

  // At onDone.
  status: ScsiStatus = ScsiStatus.good;
  /** Sense bytes without length prefix, valid until the task is submitted again. */
  sense: Uint8Array | undefined;
  residual = 0;
  isOverflow = false;
  isUnderflow = false;
  /** Send no response: the task's own nexus aborted it, or is gone. */
  isAborted = false;

  /** The same task as handlers see it. Not for the transport. */
  readonly command: Command;

  constructor() {
    this.command = new Command(this);
  }

  /**
   * Announces the next data segment, before its bytes are given to `accept`. Memory is taken for announced bytes only, so
   * that of the writes that share a connection at most one is half-filled.
   */
  expect(byteCount: number): void {
    this.command.announced = byteCount;
  }

  /** Takes data-out bytes `bytes[start, end)` and returns how many; fewer: no memory now, `onRoom` tells when to go on. */
  accept(bytes: Uint8Array, start: number, end: number): number {
    return this.command.accept(bytes, start, end);
  }

  /**
   * Fills `target` (at most 1 MiB) with data-in bytes from `at` on; several reads may be under way. `target` is left alone
   * until `done`, which may run inside the call.
   */
  read(target: Uint8Array, at: number, done: ReadDone): void {
    this.command.read(target, at, done);
  }

  /** All data-in bytes were queued, and every read is done: the command ends inside this call. */
  dataInSent(): void {
    this.command.dataInSent();
  }
}
