/** What worlds of both protocols' servers have: memory to stage in, streams, and time that passes when a test says so. */
import type { Log } from '../../src/base/ports.ts';
import { Staging } from '../../src/device/staging.ts';
import { ManualTimers } from './manual-timers.ts';
import { MemoryStream } from './memory-stream.ts';

const roundsMax = 1_000_000;

export class ServerWorld {
  readonly staging: Staging;
  readonly timers = new ManualTimers();
  readonly warnings: string[] = [];
  readonly log: Log = {
    info: () => undefined,
    warn: (message, fields) => {
      this.warnings.push(`${message} ${JSON.stringify(fields)}`);
    },
    error: (message) => {
      throw new Error(message);
    },
  };
  readonly #streams = new Set<MemoryStream>();

  constructor(slabBytes: number) {
    this.staging = new Staging(new SharedArrayBuffer(slabBytes));
  }

  /** A stream that moves when the world runs. */
  stream(): MemoryStream {
    const stream = new MemoryStream();
    this.#streams.add(stream);
    return stream;
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
}
