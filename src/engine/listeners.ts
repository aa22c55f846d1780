/**
 * NBD listeners of the engine: opens and closes until what is open is what is wanted.
 *
 * When what TCP clients must prove has changed, those who came in under the old rule are disconnected and may come back under the
 * new one; a renewed server certificate disturbs nobody.
 */
import { createHash } from 'node:crypto';
import type { ByteStream } from '../base/ports.ts';
import { type ListenDone, listenTcp, listenUnix, type StreamListener } from '../host/socket.ts';
import { TlsStreams } from '../host/tls.ts';
import { type NbdDoor, plainDoor } from '../nbd/door.ts';
import type { NbdListen, NbdListening, NbdTls } from './protocol.ts';

export interface NbdListenersOwner {
  accept(stream: ByteStream, door: NbdDoor): void;
  disconnectDoor(door: NbdDoor): void;
}

interface TcpDoor extends NbdDoor {
  /** Replaced when the server's certificate is. */
  security: TlsStreams | undefined;
  /** Of everything that a client must prove, and to whom. */
  readonly ruleDigest: string;
}

interface OpenTcp {
  readonly address: string;
  readonly listener: StreamListener;
}

export class NbdListeners {
  readonly #owner: NbdListenersOwner;
  #tcp: OpenTcp | undefined;
  #tcpDoor: TcpDoor | undefined;
  #unix: { readonly path: string; readonly listener: StreamListener } | undefined;

  constructor(owner: NbdListenersOwner) {
    this.#owner = owner;
  }

  /** What is open now. */
  get current(): NbdListening {
    return {
      ...(this.#tcp === undefined ? {} : { tcp: this.#describeTcp(this.#tcp) }),
      ...(this.#unix === undefined ? {} : { socketPath: this.#unix.path }),
    };
  }

  /** Makes it so. Rejects with OperationError when a listener cannot be opened; what was open and still wanted stays. */
  async apply(wanted: NbdListen): Promise<NbdListening> {
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

  #describeTcp({ address, listener }: OpenTcp): NonNullable<NbdListening['tcp']> {
    const { port } = listener;
    const hasTls = this.#tcpDoor?.security !== undefined;
    return { address, port, ...(hasTls ? { tls: 'required' as const } : {}) };
  }

  async #applyTcp(wanted: NbdListen['tcp']): Promise<void> {
    // Unusable certificates are refused before anything is closed.
    const door = wanted === undefined ? undefined : tcpDoor(wanted.tls);
    const open = this.#tcp;
    const isOpen =
      open !== undefined &&
      wanted !== undefined &&
      open.address === wanted.address &&
      (wanted.port === 0 || wanted.port === open.listener.port);
    if (!isOpen) {
      open?.listener.close();
      this.#tcp = undefined;
    }
    this.#useDoor(door);
    if (isOpen || wanted === undefined) return;
    const listener = await opened((done) => {
      listenTcp(wanted, this.#acceptTcp, done);
    });
    this.#tcp = { listener, address: wanted.address };
  }

  /** From now on clients come in through `door`, or with the same rule through the old one with the new certificate. */
  #useDoor(door: TcpDoor | undefined): void {
    const old = this.#tcpDoor;
    if (old !== undefined && old.ruleDigest === door?.ruleDigest) {
      old.security = door.security;
      return;
    }
    this.#tcpDoor = door;
    if (old !== undefined && door !== undefined) this.#owner.disconnectDoor(old);
  }

  readonly #acceptTcp = (stream: ByteStream): void => {
    if (this.#tcpDoor === undefined) stream.destroy();
    else this.#owner.accept(stream, this.#tcpDoor);
  };

  async #applyUnix(path: string | undefined): Promise<void> {
    if (this.#unix !== undefined && this.#unix.path === path) return;
    this.#unix?.listener.close();
    this.#unix = undefined;
    if (path === undefined) return;
    const listener = await opened((done) => {
      const accept = (stream: ByteStream): void => {
        this.#owner.accept(stream, plainDoor);
      };
      listenUnix(path, accept, done);
    });
    this.#unix = { listener, path };
  }
}

function tcpDoor(tls: NbdTls | undefined): TcpDoor {
  if (tls === undefined) return { security: undefined, ruleDigest: '' };
  const { certificatePem, keyPem, clientAuthorityPem, keyByIdentity } = tls;
  const keys = keyByIdentity && Object.entries(keyByIdentity);
  const security = new TlsStreams({
    certificate: { certificatePem, keyPem },
    ...(clientAuthorityPem === undefined ? {} : { clientAuthorityPem }),
    ...(keys === undefined
      ? {}
      : { keyByIdentity: new Map(keys.map(([name, hex]) => [name, Uint8Array.fromHex(hex)])) }),
  });
  const rule = JSON.stringify([clientAuthorityPem ?? null, keys?.sort() ?? null]);
  return { security, ruleDigest: createHash('sha256').update(rule).digest('hex') };
}

async function opened(listen: (done: ListenDone) => void): Promise<StreamListener> {
  return await new Promise((resolve, reject) => {
    listen((error, listener) => {
      if (listener !== undefined) resolve(listener);
      else reject(error ?? new Error('no listener'));
    });
  });
}
