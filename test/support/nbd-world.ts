/** An NBD server over memory devices, memory streams and manual time: everything happens when a test says so. */
import { StagingDoor } from '../../src/device/staging-door.ts';
import { type NbdDoor, plainDoor } from '../../src/nbd/door.ts';
import type { NbdLimits } from '../../src/nbd/limits.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { MemoryDevice } from './memory-device.ts';
import { MemoryExports } from './memory-exports.ts';
import { NbdClient } from './nbd-client.ts';
import { ServerWorld } from './server-world.ts';

export interface NbdWorldOptions {
  readonly sizeBytes?: number;
  readonly slabBytes?: number;
  readonly limits?: Partial<NbdLimits>;
}

export class NbdWorld extends ServerWorld {
  readonly exports = new MemoryExports();
  readonly server: NbdServer;
  /** The export `disk`. */
  readonly device: MemoryDevice;

  constructor(options: NbdWorldOptions = {}) {
    super(options.slabBytes ?? 16 << 20);
    this.device = this.addDevice('disk', options.sizeBytes ?? 64 << 20);
    const { timers, exports, log } = this;
    const staging = new StagingDoor(this.staging);
    const limits = options.limits ?? {};
    this.server = new NbdServer({ exports, staging, timers, log, limits });
  }

  addDevice(name: string, sizeBytes: number, isReadOnly = false): MemoryDevice {
    const slab = this.staging.bytes;
    return this.exports.add(new MemoryDevice({ name, sizeBytes, isReadOnly, slab }));
  }

  connect(door: NbdDoor = plainDoor): NbdClient {
    const client = this.client();
    this.server.accept(client.stream, door);
    this.run();
    return client;
  }

  /** A client whose stream nobody serves yet. */
  client(): NbdClient {
    return new NbdClient(this.stream(), () => {
      this.run();
    });
  }

  /** A client in transmission. */
  open(how: { readonly isStructured?: boolean; readonly hasContext?: boolean } = {}): NbdClient {
    const client = this.connect();
    client.open('disk', how);
    return client;
  }

  /** Time passes, then everything happens. */
  pass(ms: number): void {
    this.timers.advance(ms);
    this.run();
  }
}
