/** TLS without cryptography: it is up when a test says so. */
import type { ByteStream, SecuredStream, StreamSecurity } from '../../src/base/ports.ts';
import { MemoryStream } from './memory-stream.ts';
import type { NbdClient } from './nbd-client.ts';
import type { NbdWorld } from './nbd-world.ts';

interface Upgrade {
  readonly stream: MemoryStream;
  readonly done: (secured: SecuredStream | undefined, reason: string) => void;
}

export class MemorySecurity implements StreamSecurity {
  /** Handshakes of TLS under way, oldest first. */
  readonly upgrades: Upgrade[] = [];

  secure(stream: ByteStream, done: Upgrade['done']): void {
    if (!(stream instanceof MemoryStream)) throw new Error('not a stream of this test');
    stream.detach();
    if (stream.isDestroyed) done(undefined, 'the connection was lost');
    else this.upgrades.push({ stream, done });
  }

  /** The oldest handshake succeeds; returns the client on the secured stream. */
  succeed(world: NbdWorld, identity?: string): NbdClient {
    const client = world.client();
    this.#next().done({ stream: client.stream, identity, protocol: 'TLSv1.3' }, '');
    world.run();
    return client;
  }

  fail(world: NbdWorld, reason: string): void {
    const { stream, done } = this.#next();
    stream.destroy();
    done(undefined, reason);
    world.run();
  }

  #next(): Upgrade {
    const upgrade = this.upgrades.shift();
    if (upgrade === undefined) throw new Error('nobody asked for TLS');
    return upgrade;
  }
}
