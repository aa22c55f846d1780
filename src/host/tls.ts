/**
 * TLS for streams that begin in the clear (STARTTLS), as the server's side.
 *
 *     SocketStream ─detach─▶ Socket ─▶ tls.Server ─▶ TLSSocket ─▶ SocketStream, with the client's identity
 *                                          └ failed: the socket is closed, the reason reported
 *
 * The server of node:tls never listens: sockets are handed to it, which Node documents ("connection"), because only it
 * checks client certificates completely. Its answer is matched to the socket by both ends' addresses.
 *
 * Invariants
 * 1. With client certificates or keys configured, nobody gets through who did not prove an identity by one of them.
 * 2. No session is resumed: every connection proves itself anew, and keys that were withdrawn are worth nothing.
 * 3. Whatever goes wrong, `done` is called once, and never from inside OpenSSL.
 */
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { assert } from '../base/assert.ts';
import { OperationError, toError } from '../base/errors.ts';
import type { ByteStream, SecuredStream, StreamSecurity } from '../base/ports.ts';
import { plainSocket, SocketStream } from './socket.ts';

/** How the server proves itself, and how clients must. At least one of `certificate` and `keyByIdentity` is there. */
export interface TlsSettings {
  /** Certificate (with its chain) and private key, PEM. Without it only clients with a shared key can connect. */
  readonly certificate?: { readonly certificatePem: string; readonly keyPem: string };
  /** Certificates of the authority, PEM: clients must show a certificate that it signed for clients, with a name (CN). */
  readonly clientAuthorityPem?: string;
  /** Shared keys: clients must have one of them, or a certificate where those are asked for. */
  readonly keyByIdentity?: ReadonlyMap<string, Uint8Array>;
}

type SecureDone = (secured: SecuredStream | undefined, reason: string) => void;

/** A handshake that is under way by itself; the owner's limit is usually shorter. */
const handshakeLimitMs = 10_000;
/** Shared keys of TLS 1.3 go with SHA-256 only, so these come first. */
const suites13 = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384';
/** TLS 1.2: authenticated encryption with forward secrecy, nothing else. */
const certificateSuites12 = 'ECDHE+AESGCM:ECDHE+CHACHA20';
const keySuites12 = 'ECDHE-PSK-CHACHA20-POLY1305';

export class TlsStreams implements StreamSecurity {
  readonly #server: Server;
  readonly #needsIdentity: boolean;
  /** Handshakes under way, by the addresses of both ends. */
  readonly #doneByEnds = new Map<string, SecureDone>();
  /** The identity whose key was used last in the handshake of a socket. */
  readonly #keyIdentity = new WeakMap<TLSSocket, string>();

  /** Throws OperationError `invalid` when certificate and key are not a pair, or not readable. */
  constructor(settings: TlsSettings) {
    this.#needsIdentity =
      settings.clientAuthorityPem !== undefined || settings.keyByIdentity !== undefined;
    try {
      this.#server = createServer(this.#options(settings));
    } catch (thrown) {
      const message = `the TLS certificate or key cannot be used: ${toError(thrown).message}`;
      throw new OperationError('invalid', message, undefined, thrown);
    }
    this.#server.on('secureConnection', (socket) => {
      this.#secured(socket);
    });
    this.#server.on('tlsClientError', (error, socket) => {
      this.#failed(endsOf(socket), failureText(error));
    });
  }

  secure(stream: ByteStream, done: SecureDone): void {
    assert(stream instanceof SocketStream, 'only sockets can be secured');
    const socket = stream.detach();
    const ends = endsOf(socket);
    if (ends === undefined || socket.destroyed || this.#doneByEnds.has(ends)) {
      socket.destroy();
      done(undefined, 'the connection was lost');
      return;
    }
    this.#doneByEnds.set(ends, done);
    socket.once('close', () => {
      // After success or a failure that was reported this finds nothing, unless the addresses are in use again.
      if (this.#doneByEnds.get(ends) === done) {
        this.#failed(ends, 'the client left, or its certificate was refused');
      }
    });
    // A client that leaves in the middle of the handshake is not waited for.
    socket.allowHalfOpen = false;
    this.#server.emit('connection', socket);
  }

  #options(settings: TlsSettings): TlsOptions {
    const { clientAuthorityPem, keyByIdentity } = settings;
    // Where only keys prove a client, there must be no other way to finish a handshake.
    const isKeyOnly = keyByIdentity !== undefined && clientAuthorityPem === undefined;
    const certificate = isKeyOnly ? undefined : settings.certificate;
    const suites = [suites13];
    if (certificate !== undefined) suites.push(certificateSuites12);
    if (keyByIdentity !== undefined) suites.push(keySuites12);
    return {
      minVersion: 'TLSv1.2',
      ciphers: suites.join(':'),
      handshakeTimeout: handshakeLimitMs,
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      ...(certificate === undefined
        ? {}
        : { cert: certificate.certificatePem, key: certificate.keyPem }),
      ...(clientAuthorityPem === undefined
        ? {}
        : {
            ca: clientAuthorityPem,
            requestCert: true,
            // Node takes a client with a shared key for one without a certificate; `#identityOf` tells them apart.
            rejectUnauthorized: keyByIdentity === undefined,
          }),
      ...(keyByIdentity === undefined
        ? {}
        : {
            pskCallback: (socket: TLSSocket, identity: string) => {
              const key = keyByIdentity.get(identity);
              if (key === undefined) return null;
              this.#keyIdentity.set(socket, identity);
              return key;
            },
          }),
    };
  }

  #secured(socket: TLSSocket): void {
    // Nothing is delivered before the new stream is started. From here on a client may end its half and still read.
    socket.pause();
    socket.allowHalfOpen = true;
    const identity = this.#identityOf(socket);
    const stream = new SocketStream(socket, plainSocket);
    const protocol = socket.getProtocol() ?? 'TLS';
    const isRefused = this.#needsIdentity && identity === undefined;
    const done = this.#take(endsOf(socket));
    later(() => {
      if (isRefused) socket.destroy();
      if (!socket.destroyed && done !== undefined) done({ stream, identity, protocol }, '');
      else {
        socket.destroy();
        done?.(undefined, isRefused ? 'it proved no name' : 'the client left');
      }
    });
  }

  #failed(ends: string | undefined, reason: string): void {
    const done = this.#take(ends);
    later(() => {
      done?.(undefined, reason);
    });
  }

  /** The handshake between these ends is over. Returns who is to be told; undefined when that was done before. */
  #take(ends = ''): SecureDone | undefined {
    const done = this.#doneByEnds.get(ends);
    this.#doneByEnds.delete(ends);
    return done;
  }

  #identityOf(socket: TLSSocket): string | undefined {
    if (isByKey(socket)) return this.#keyIdentity.get(socket);
    return socket.authorized ? certificateName(socket) : undefined;
  }
}

/**
 * Node reports the end of a handshake from inside OpenSSL, where closing the socket below takes the memory away that OpenSSL
 * works in: the process would die. So nobody is told before that call has returned.
 */
function later(action: () => void): void {
  setImmediate(action);
}

/** Both ends of a TCP connection: no two live connections have the same. Undefined when it is none, or gone. */
function endsOf(socket: Socket): string | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return `${localAddress ?? ''} ${localPort ?? 0} ${remoteAddress} ${remotePort}`;
}

/** Whether a shared key proved the client. TLS 1.3 shows a shared key as a resumed session, and nothing else is resumed. */
function isByKey(socket: TLSSocket): boolean {
  return socket.isSessionReused() || socket.getCipher().name.includes('PSK');
}

/** The common name of the client's certificate, when there is exactly one. */
function certificateName(socket: TLSSocket): string | undefined {
  const name: unknown = socket.getPeerX509Certificate()?.toLegacyObject().subject.CN;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** OpenSSL's reason without its file names. */
function failureText(error: Error): string {
  return 'reason' in error && typeof error.reason === 'string' ? error.reason : error.message;
}
