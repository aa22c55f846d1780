/** NBD listeners of the engine: opens and closes until what is open is what is wanted. */
import type { ByteStream } from '../base/ports.ts';
import { type ListenDone, listenTcp, listenUnix, type StreamListener } from '../host/socket.ts';
import type { NbdListen } from './protocol.ts';

export class NbdListeners {
  readonly #onStream: (stream: ByteStream) => void;
  #tcp: { readonly address: string; readonly listener: StreamListener } | undefined;
  #unix: { readonly path: string; readonly listener: StreamListener } | undefined;

  constructor(onStream: (stream: ByteStream) => void) {
    this.#onStream = onStream;
  }

  /** What is open now. */
  get current(): NbdListen {
    return {
      ...(this.#tcp === undefined
        ? {}
        : { tcp: { address: this.#tcp.address, port: this.#tcp.listener.port } }),
      ...(this.#unix === undefined ? {} : { socketPath: this.#unix.path }),
    };
  }

  /** Makes it so. Rejects with OperationError when a listener cannot be opened; what was open and still wanted stays. */
  async apply(wanted: NbdListen): Promise<NbdListen> {
    await this.#applyTcp(wanted.tcp);
    await this.#applyUnix(wanted.socketPath);
    return this.current;
  }

  close(): void {
    this.#tcp?.listener.close();
    this.#unix?.listener.close();
    this.#tcp = undefined;
    this.#unix = undefined;
  }

  async #applyTcp(wanted: NbdListen['tcp']): Promise<void> {
    const open = this.#tcp;
    const isOpen =
      open !== undefined &&
      wanted !== undefined &&
      open.address === wanted.address &&
      (wanted.port === 0 || wanted.port === open.listener.port);
    if (isOpen) return;
    open?.listener.close();
    this.#tcp = undefined;
    if (wanted === undefined) return;
    const listener = await opened((done) => {
      listenTcp(wanted.address, wanted.port, this.#onStream, done);
    });
    this.#tcp = { listener, address: wanted.address };
  }

  async #applyUnix(path: string | undefined): Promise<void> {
    if (this.#unix !== undefined && this.#unix.path === path) return;
    this.#unix?.listener.close();
    this.#unix = undefined;
    if (path === undefined) return;
    const listener = await opened((done) => {
      listenUnix(path, this.#onStream, done);
    });
    this.#unix = { listener, path };
  }
}

async function opened(listen: (done: ListenDone) => void): Promise<StreamListener> {
  return await new Promise((resolve, reject) => {
    listen((error, listener) => {
      if (listener !== undefined) resolve(listener);
      else reject(error ?? new Error('no listener'));
    });
  });
}
