/**
 * An NBD client that writes its bytes by hand, so that the server's own field tables are not what they are checked by.
 * It works over a `MemoryStream` and knows nothing of good manners.
 */
import type { MemoryStream } from './memory-stream.ts';

export interface OptionAnswer {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface SimpleAnswer {
  readonly kind: 'simple';
  readonly error: number;
  readonly cookie: bigint;
}

export interface ChunkAnswer {
  readonly kind: 'chunk';
  readonly isDone: boolean;
  readonly type: number;
  readonly cookie: bigint;
  readonly payload: Buffer;
}

export interface RequestFields {
  readonly command: number;
  readonly flags?: number;
  readonly cookie?: bigint;
  readonly offset?: bigint | number;
  readonly length?: number;
  readonly payload?: Uint8Array;
  readonly magic?: number;
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** A string with its 32-bit length before it. */
export function counted(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([u32(bytes.length), bytes]);
}

export function optionBytes(option: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(option), u32(data.length), data]);
}

/** Data of INFO and GO. */
export function infoData(name: string, types: readonly number[] = []): Buffer {
  return Buffer.concat([counted(name), u16(types.length), ...types.map(u16)]);
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaData(name: string, queries: readonly string[]): Buffer {
  return Buffer.concat([counted(name), u32(queries.length), ...queries.map(counted)]);
}

export function requestBytes(fields: RequestFields): Buffer {
  const { payload } = fields;
  return Buffer.concat([
    u32(fields.magic ?? 0x25609513),
    u16(fields.flags ?? 0),
    u16(fields.command),
    u64(fields.cookie ?? 1n),
    u64(fields.offset ?? 0),
    u32(fields.length ?? payload?.length ?? 0),
    payload ?? Buffer.alloc(0),
  ]);
}

export class NbdClient {
  readonly stream: MemoryStream;
  readonly #run: () => void;
  #buffer: Buffer = Buffer.alloc(0);

  /** `run` lets the server work until nothing happens any more. */
  constructor(stream: MemoryStream, run: () => void) {
    this.stream = stream;
    this.#run = run;
  }

  /** Bytes received and not looked at. */
  get available(): number {
    this.#collect();
    return this.#buffer.length;
  }

  get isDropped(): boolean {
    return this.stream.isDestroyed;
  }

  /** The server ended in good order. */
  get isEnded(): boolean {
    return this.stream.isEnded;
  }

  /** Sends in chunks of `chunkBytes`. */
  send(bytes: Uint8Array, chunkBytes = bytes.length): void {
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      this.stream.send(bytes.subarray(at, at + chunkBytes));
    }
    this.#run();
  }

  take(length: number): Buffer {
    this.#collect();
    if (this.#buffer.length < length) {
      throw new Error(`expected ${length} bytes, there are ${this.#buffer.length}`);
    }
    const bytes = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return bytes;
  }

  /** Reads the greeting and answers with client flags. */
  greet(flags = 3): Buffer {
    this.#run();
    const greeting = this.take(18);
    this.send(u32(flags));
    return greeting;
  }

  option(option: number, data?: Uint8Array): void {
    this.send(optionBytes(option, data));
  }

  optionAnswer(): OptionAnswer {
    const header = this.take(20);
    if (header.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('option reply magic');
    return {
      option: header.readUInt32BE(8),
      type: header.readUInt32BE(12),
      data: this.take(header.readUInt32BE(16)),
    };
  }

  /** Every answer to one option. */
  ask(option: number, data?: Uint8Array): OptionAnswer[] {
    this.option(option, data);
    const answers: OptionAnswer[] = [];
    while (this.available > 0) answers.push(this.optionAnswer());
    return answers;
  }

  /** From greeting to transmission. */
  open(
    name: string,
    how: { readonly isStructured?: boolean; readonly hasContext?: boolean } = {},
  ): void {
    this.greet();
    if (how.isStructured === true) this.ask(8);
    if (how.hasContext === true) this.ask(10, metaData(name, ['base:allocation']));
    const last = this.ask(7, infoData(name)).at(-1);
    if (last?.type !== 1) throw new Error(`GO was refused: ${String(last?.data)}`);
  }

  request(fields: RequestFields): void {
    this.send(requestBytes(fields));
  }

  simple(): SimpleAnswer {
    const header = this.take(16);
    if (header.readUInt32BE(0) !== 0x67446698) throw new Error('simple reply magic');
    return { kind: 'simple', error: header.readUInt32BE(4), cookie: header.readBigUInt64BE(8) };
  }

  chunk(): ChunkAnswer {
    const header = this.take(20);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error('chunk magic');
    return {
      kind: 'chunk',
      isDone: header.readUInt16BE(4) === 1,
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      payload: this.take(header.readUInt32BE(16)),
    };
  }

  /** Chunks of the next reply up to the one with DONE. */
  chunks(): ChunkAnswer[] {
    const chunks = [this.chunk()];
    while (chunks.at(-1)?.isDone === false) chunks.push(this.chunk());
    return chunks;
  }

  /** Whichever kind comes next. */
  reply(): SimpleAnswer | ChunkAnswer {
    this.#collect();
    return this.#buffer.readUInt32BE(0) === 0x67446698 ? this.simple() : this.chunk();
  }

  /** Reads and puts the data of a structured reply together; throws on an error chunk. */
  readStructured(offset: number, length: number, flags = 0): Buffer {
    this.request({ command: 0, offset, length, flags });
    const data = Buffer.alloc(length, 0xaa);
    for (const { type, payload } of this.chunks()) {
      if (type === 1) payload.copy(data, Number(payload.readBigUInt64BE(0)) - offset, 8);
      else if (type === 2) {
        const start = Number(payload.readBigUInt64BE(0)) - offset;
        data.fill(0, start, start + payload.readUInt32BE(8));
      } else throw new Error(`unexpected chunk of type ${type}`);
    }
    return data;
  }

  readSimple(offset: number, length: number): Buffer {
    this.request({ command: 0, offset, length });
    const { error } = this.simple();
    if (error !== 0) throw new Error(`read failed with ${error}`);
    return this.take(length);
  }

  /** Returns the error value. */
  write(offset: number, payload: Uint8Array, flags = 0): number {
    this.request({ command: 1, offset, payload, flags });
    return errorOf(this.reply());
  }

  #collect(): void {
    const pieces = this.stream.received;
    if (pieces.length === 0) return;
    this.stream.received = [];
    this.#buffer = Buffer.concat([this.#buffer, ...pieces]);
  }
}

/** Error value of a reply of either kind; 0 is success. */
export function errorOf(answer: SimpleAnswer | ChunkAnswer): number {
  if (answer.kind === 'simple') return answer.error;
  return (answer.type & 0x8000) === 0 ? 0 : answer.payload.readUInt32BE(0);
}

/** Text of an error chunk. */
export function messageOf(answer: ChunkAnswer): string {
  return answer.payload.toString('utf8', 6, 6 + answer.payload.readUInt16BE(4));
}
