/** An NBD server over memory devices, memory streams and manual time: everything happens when a test says so. */
import type { Log } from '../../src/base/ports.ts';
import { Staging } from '../../src/device/staging.ts';
import { StagingDoor } from '../../src/device/staging-door.ts';
import { type NbdDoor, plainDoor } from '../../src/nbd/door.ts';
import type { NbdLimits } from '../../src/nbd/limits.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { ManualTimers } from './manual-timers.ts';
import { MemoryDevice } from './memory-device.ts';
import { MemoryExports } from './memory-exports.ts';
import { MemoryStream } from './memory-stream.ts';
import { NbdClient } from './nbd-client.ts';

const roundsMax = 1_000_000;

export interface NbdWorldOptions {
  readonly sizeBytes?: number;
  readonly slabBytes?: number;
  readonly limits?: Partial<NbdLimits>;
}

export class NbdWorld {
  readonly staging: Staging;
  readonly timers = new ManualTimers();
  readonly exports = new MemoryExports();
  readonly server: NbdServer;
  /** The export `disk`. */
  readonly device: MemoryDevice;
  readonly warnings: string[] = [];
  readonly #streams: MemoryStream[] = [];

  constructor(options: NbdWorldOptions = {}) {
    this.staging = new Staging(new SharedArrayBuffer(options.slabBytes ?? 16 << 20));
    this.device = this.addDevice('disk', options.sizeBytes ?? 64 << 20);
    const log: Log = {
      info: () => undefined,
      warn: (message, fields) => {
        this.warnings.push(`${message} ${JSON.stringify(fields)}`);
      },
      error: (message) => {
        throw new Error(message);
      },
    };
    const { timers, exports } = this;
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
    const stream = new MemoryStream();
    this.#streams.push(stream);
    return new NbdClient(stream, () => {
      this.run();
    });
  }

  /** A client in transmission. */
  open(how: { readonly isStructured?: boolean; readonly hasContext?: boolean } = {}): NbdClient {
    const client = this.connect();
    client.open('disk', how);
    return client;
  }

  /** Lets everything happen that can happen without time passing. */
  run(): void {
    for (let round = 0; round < roundsMax; round += 1) {
      let isBusy = false;
      for (const stream of this.#streams) isBusy = stream.step() || isBusy;
      if (!this.timers.endTurn() && !isBusy) return;
    }
    throw new Error('the server does not come to rest');
  }

  /** Time passes, then everything happens. */
  pass(ms: number): void {
    this.timers.advance(ms);
    this.run();
  }
}
