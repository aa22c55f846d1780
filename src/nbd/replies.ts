/** Replies without data: success, and failures with a text for people where the client understands it. */
import type { Output } from '../base/output.ts';
import type { Task } from './task.ts';
import { NbdError, statusToError, statusToMessage } from './wire/error.ts';
import {
  type Cookie,
  encodeErrorChunk,
  encodeNone,
  encodeSimpleReply,
  errorReplyMaxBytes,
  simpleReplyBytes,
} from './wire/reply.ts';

export interface Failure {
  readonly error: NbdError;
  /** Empty on success. */
  readonly message: string;
  /** First device byte that failed, when the failure has a place. */
  readonly offset?: number;
}

export class Replies {
  readonly #output: Output;
  readonly #isStructured: boolean;

  constructor(output: Output, isStructured: boolean) {
    this.#output = output;
    this.#isStructured = isStructured;
  }

  success(to: Cookie): void {
    this.#simple(to, NbdError.none);
  }

  /** A read of no bytes. */
  emptyRead(to: Cookie): void {
    if (!this.#isStructured) {
      this.success(to);
      return;
    }
    const buffer = this.#output.reserveSmall(errorReplyMaxBytes);
    const reservedEnd = buffer.used;
    const start = reservedEnd - errorReplyMaxBytes;
    this.#output.commit(buffer, start, encodeNone(buffer.view, start, to), reservedEnd);
  }

  failure(to: Cookie, failure: Failure): void {
    if (!this.#isStructured) {
      this.#simple(to, failure.error);
      return;
    }
    const buffer = this.#output.reserveSmall(errorReplyMaxBytes);
    const reservedEnd = buffer.used;
    const start = reservedEnd - errorReplyMaxBytes;
    const end = encodeErrorChunk(buffer.view, start, to, failure);
    this.#output.commit(buffer, start, end, reservedEnd);
  }

  /** Answers a task that carries no data by its status. */
  outcome(task: Task): void {
    const error = statusToError(task.status);
    if (error === NbdError.none) this.success(task);
    else this.failure(task, { error, message: statusToMessage(task.status) });
  }

  /** A failed read names the place of the failure. */
  failedRead(task: Task): void {
    const error = statusToError(task.status);
    this.failure(task, { error, message: statusToMessage(task.status), offset: task.failedOffset });
  }

  #simple(to: Cookie, error: NbdError): void {
    const buffer = this.#output.reserveSmall(simpleReplyBytes);
    const end = buffer.used;
    encodeSimpleReply(buffer.view, end - simpleReplyBytes, to, error);
    this.#output.commit(buffer, end - simpleReplyBytes, end, end);
  }
}
