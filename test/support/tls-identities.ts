/** Authorities, servers and clients with certificates, made once per test file. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import type { ByteStream } from '../../src/base/ports.ts';
import {
  type Identity,
  makeAuthority,
  makeClient,
  makeServer,
} from '../../src/control/tls-certificates.ts';
import type { StreamListener } from '../../src/host/socket.ts';
import { listenTcp } from '../../src/host/socket.ts';

export class TestAuthority {
  readonly pem: string;
  readonly #authority: Parameters<typeof makeClient>[0];

  constructor(name: string) {
    const { certificatePem, keyPem } = makeAuthority({ name, nowMs: Date.now(), days: 2 });
    this.pem = certificatePem;
    this.#authority = {
      certificate: new X509Certificate(certificatePem),
      key: createPrivateKey(keyPem),
    };
  }

  server(name = 'localhost'): Identity {
    const leaf = { name, nowMs: Date.now(), days: 1 };
    return makeServer(this.#authority, leaf, ['localhost', '127.0.0.1']);
  }

  client(name: string, days = 1): Identity {
    return makeClient(this.#authority, { name, nowMs: Date.now(), days });
  }
}

/** Listens on a free port of the loopback. */
export async function listenLoopback(
  onStream: (stream: ByteStream) => void,
): Promise<StreamListener> {
  const { promise, resolve, reject } = Promise.withResolvers<StreamListener>();
  listenTcp({ address: '127.0.0.1', port: 0 }, onStream, (error, listener) => {
    if (listener === undefined) reject(error ?? new Error('no listener'));
    else resolve(listener);
  });
  return await promise;
}
