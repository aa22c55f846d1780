/** A small NBD client for many connections in one process: reads, writes and trims of whole blocks, each a promise. */
import net from 'node:net';
import { infoData, optionBytes, requestBytes, u32 } from '../support/nbd-client.ts';
import { ConnectionLost, type DayDisk, Refusal } from './day-disk.ts';

interface Waiting {
  /** Bytes of data that follow a success. */
  readonly length: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

const greetingBytes = 18;
const optionReplyBytes = 20;
const replyBytes = 16;
const optionGo = 7;
const replyAck = 1;
const replyErrorBit = 2 ** 31;
const replyErrorShutdown = replyErrorBit + 7;
const command = { read: 0, write: 1, disconnect: 2, trim: 4 } as const;
const clientFlags = 3;
/** Errors of NBD. */
const noSpace = 28;
const shuttingDown = 108;
const noBytes: Buffer = Buffer.alloc(0);

export class NbdSession implements DayDisk {
  readonly #socket: net.Socket;
  readonly #waiting = new Map<bigint, Waiting>();
  readonly #opened = Promise.withResolvers<void>();
  #phase: 'greeting' | 'options' | 'transmission' = 'greeting';
  #chunks: Buffer[] = [];
  #bytes = 0;
  #nextCookie = 1n;
  #isGone = false;

  private constructor(socketPath: string, exportName: string) {
    this.#socket = net.connect({ path: socketPath });
    this.#socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      this.#work(exportName);
    });
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => {
      this.#lost();
    });
  }

  /** Rejects when the server is not there, or has no such export. */
  static async open(socketPath: string, exportName: string): Promise<NbdSession> {
    const session = new NbdSession(socketPath, exportName);
    await session.#opened.promise;
    return session;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#request(command.read, { offset, length }, noBytes);
  }

  async write(offset: number, payload: Buffer): Promise<void> {
    await this.#request(command.write, { offset, length: payload.length }, payload);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#request(command.trim, { offset, length }, noBytes);
  }

  /** Leaves in good order. */
  close(): void {
    if (this.#phase === 'transmission' && !this.#isGone) {
      this.#socket.end(requestBytes({ command: command.disconnect, length: 0 }));
    } else this.#socket.destroy();
  }

  async #request(
    kind: number,
    { offset, length }: { readonly offset: number; readonly length: number },
    payload: Buffer,
  ): Promise<Buffer> {
    if (this.#isGone) throw new ConnectionLost('the connection is gone');
    const cookie = this.#nextCookie;
    this.#nextCookie += 1n;
    return await new Promise((resolve, reject) => {
      const isRead = kind === command.read;
      this.#waiting.set(cookie, { length: isRead ? length : 0, resolve, reject });
      this.#socket.write(requestBytes({ command: kind, cookie, offset, length, payload }));
    });
  }

  #work(exportName: string): void {
    for (;;) {
      const took =
        this.#phase === 'greeting'
          ? this.#greeting(exportName)
          : this.#phase === 'options'
            ? this.#option()
            : this.#reply();
      if (!took) return;
    }
  }

  #greeting(exportName: string): boolean {
    if (this.#take(greetingBytes) === undefined) return false;
    this.#phase = 'options';
    this.#socket.write(
      Buffer.concat([u32(clientFlags), optionBytes(optionGo, infoData(exportName))]),
    );
    return true;
  }

  #option(): boolean {
    const header = this.#peek(optionReplyBytes);
    if (header === undefined) return false;
    const type = header.readUInt32BE(12);
    const whole = this.#take(optionReplyBytes + header.readUInt32BE(16));
    if (whole === undefined) return false;
    if (type === replyAck) {
      this.#phase = 'transmission';
      this.#opened.resolve();
    } else if (type >= replyErrorBit) {
      const isStopping = type === replyErrorShutdown;
      const text = whole.toString('utf8', optionReplyBytes);
      this.#opened.reject(isStopping ? new ConnectionLost(text) : new Error(`refused: ${text}`));
      this.#socket.destroy();
    }
    return true;
  }

  #reply(): boolean {
    const header = this.#peek(replyBytes);
    if (header === undefined) return false;
    const cookie = header.readBigUInt64BE(8);
    const waiting = this.#waiting.get(cookie);
    if (waiting === undefined) throw new Error('an answer to nothing');
    const error = header.readUInt32BE(4);
    const whole = this.#take(replyBytes + (error === 0 ? waiting.length : 0));
    if (whole === undefined) return false;
    this.#waiting.delete(cookie);
    if (error === 0) waiting.resolve(whole.subarray(replyBytes));
    else waiting.reject(refusalOf(error));
    return true;
  }

  #peek(length: number): Buffer | undefined {
    if (this.#bytes < length) return undefined;
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first;
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }

  #take(length: number): Buffer | undefined {
    if (this.#bytes < length) return undefined;
    const whole = this.#peek(length) ?? noBytes;
    this.#bytes -= length;
    if (whole.length === length) this.#chunks.shift();
    else this.#chunks[0] = whole.subarray(length);
    return whole.subarray(0, length);
  }

  #lost(): void {
    this.#isGone = true;
    const error = new ConnectionLost('the connection was lost');
    this.#opened.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

function refusalOf(code: number): Refusal {
  const reason = code === noSpace ? 'full' : code === shuttingDown ? 'stopping' : 'other';
  return new Refusal(reason, `error ${code}`);
}
