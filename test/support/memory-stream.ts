/** A byte stream without a kernel: a test plays the client on the other side. */
import type { ByteStream, StreamHandler } from '../../src/base/ports.ts';

interface Sending {
  readonly bytes: Uint8Array;
  readonly sent: () => void;
}

export class MemoryStream implements ByteStream {
  readonly peer = 'memory';
  /** Whether the client takes what is sent to it. */
  isTaking = true;
  isPaused = false;
  /** The server ended its half. */
  isEnded = false;
  isDestroyed = false;
  /** What the client has and did not look at yet. */
  received: Uint8Array[] = [];
  #handler: StreamHandler | undefined;
  #sending: Sending[] = [];
  /** Bytes of the client that wait for the server to read. */
  #waiting: Uint8Array[] = [];
  #hasPeerEnded = false;
  #isEndTold = false;
  #isCloseTold = false;

  get pendingBytes(): number {
    let sum = 0;
    for (const { bytes } of this.#sending) sum += bytes.length;
    return sum;
  }

  start(handler: StreamHandler): void {
    this.#handler = handler;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  write(bytes: Uint8Array, sent: () => void): void {
    if (this.isEnded && !this.isDestroyed) throw new Error('write after end');
    this.#sending.push({ bytes, sent });
  }

  end(): void {
    this.isEnded = true;
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  /** Somebody else uses the stream from now on. */
  detach(): void {
    this.#handler = undefined;
  }

  // ---- the client's side

  send(bytes: Uint8Array): void {
    this.#waiting.push(bytes);
  }

  sendEnd(): void {
    this.#hasPeerEnded = true;
  }

  /** The client takes one write, whatever `isTaking` says. */
  takeOne(): void {
    const next = this.#sending.shift();
    if (next === undefined) return;
    this.received.push(new Uint8Array(next.bytes));
    next.sent();
  }

  /** The connection broke. */
  break(): void {
    this.isDestroyed = true;
  }

  /** One round of the event loop for this stream; returns whether anything happened. */
  step(): boolean {
    return [this.#deliver(), this.#drain(), this.#tellClose()].some(Boolean);
  }

  #deliver(): boolean {
    if (this.isPaused || this.isDestroyed) return false;
    const next = this.#waiting.shift();
    if (next !== undefined) {
      // The chunk is valid only during the call: whoever keeps it will see it spoilt.
      const chunk = new Uint8Array(next);
      this.#handler?.onBytes(chunk);
      chunk.fill(0xdd);
      return true;
    }
    if (!this.#hasPeerEnded || this.#isEndTold) return false;
    this.#isEndTold = true;
    this.#handler?.onEnd();
    return true;
  }

  #drain(): boolean {
    if (this.#sending.length === 0 || (!this.isTaking && !this.isDestroyed)) return false;
    const sending = this.#sending;
    this.#sending = [];
    for (const { bytes, sent } of sending) {
      if (!this.isDestroyed) this.received.push(new Uint8Array(bytes));
      sent();
    }
    return true;
  }

  #tellClose(): boolean {
    if (this.#isCloseTold) return false;
    const isOver = this.isEnded && this.#isEndTold && this.#sending.length === 0;
    if (!this.isDestroyed && !isOver) return false;
    this.#isCloseTold = true;
    this.#handler?.onClose();
    return true;
  }
}
