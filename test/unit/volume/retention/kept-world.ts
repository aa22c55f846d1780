/** A pool whose clock stands still until a test moves it, and whose steward looks only when it is told to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCdpPolicy } from '../../../../src/base/cdp-policy.ts';
import type { Disk } from '../../../../src/base/ports.ts';
import { SystemDisk } from '../../../../src/host/disk.ts';
import type { VolumeState } from '../../../../src/volume/catalogue/catalogue.ts';
import type { OpenChanges, Pool } from '../../../../src/volume/pool.ts';
import { inlineHost } from '../../../support/inline-host.ts';
import { ask, blockBytes, openOn, read, write } from '../pool-world.ts';

/** A delay that nothing else in the pool waits for. */
const stepMs = 7919;
const blocks = 8;

export class KeptWorld {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tidemark-kept-'));
  #host: ReturnType<typeof inlineHost> | undefined;
  #pool: Pool | undefined;
  #look: () => void = () => undefined;
  /** Of both clocks; the wall clock can be set apart. */
  nowMs = 1_800_000_000_000;
  wallOffsetMs = 0;

  get pool(): Pool {
    if (this.#pool === undefined) throw new Error('the pool is not open');
    return this.#pool;
  }

  get wallMs(): number {
    return this.nowMs + this.wallOffsetMs;
  }

  /** Opens the pool; one that is open is killed first. */
  async open(makeDisk = (folder: string): Disk => new SystemDisk(folder)): Promise<void> {
    this.#host?.abandon();
    const host = inlineHost(this.#folder, makeDisk(this.#folder));
    const timers = {
      ...host.timers,
      after: (delayMs: number, action: () => void) => {
        if (delayMs !== stepMs) return host.timers.after(delayMs, action);
        this.#look = action;
        return { cancel: () => undefined };
      },
    };
    const clock = { wallMs: () => this.wallMs, monotonicMs: () => this.nowMs };
    this.#host = host;
    const settings = { retentionStepMs: stepMs, checkpointBytesMax: 2 ** 19 };
    this.#pool = (
      await openOn({ ...host, timers, clock, logClock: clock }, this.#folder, settings)
    ).pool;
  }

  remove(): void {
    this.#host?.abandon();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async create(name: string, policy: string): Promise<VolumeState> {
    return await ask((done) => {
      const sizeBytes = blocks * blockBytes;
      this.pool.volumeCreate({ name, sizeBytes, policy: policyOf(policy) }, done);
    });
  }

  async setPolicy(volume: string, policy: string): Promise<void> {
    await ask((done) => {
      this.pool.retention.setPolicy({ volume, policy: policyOf(policy) }, done);
    });
  }

  /** Fills the first block of a volume with a number. */
  async write(name: string, value: number): Promise<void> {
    const bytes = new Uint8Array(blockBytes).fill(value);
    // Not in the same millisecond as a pin.
    this.nowMs += 1;
    await write(this.pool, this.pool.volumeOpen(name), 0, bytes);
  }

  /** Time goes by, then the steward looks, and what it decides is durable. */
  async pass(elapsedMs: number): Promise<void> {
    this.nowMs += elapsedMs;
    this.#look();
    await this.settled();
  }

  async settled(): Promise<void> {
    const [volume] = this.pool.volumes();
    if (volume === undefined) return;
    // Catalogue operations run in order.
    await ask((done) => {
      this.pool.retention.expirePins({ volume: volume.name, keepMs: Infinity }, done);
    });
  }

  /** The number in the first block at a moment. Rejects when it cannot be opened. */
  async valueAt(volume: string, at: string): Promise<number | undefined> {
    const opened = await ask<OpenChanges>((done) => {
      this.pool.changesOpen({ volume, at, since: at }, done);
    });
    try {
      return (await read(opened.device, 0, blockBytes))[0];
    } finally {
      opened.close();
    }
  }
}

function policyOf(text: string): NonNullable<ReturnType<typeof parseCdpPolicy>> {
  const policy = parseCdpPolicy(text);
  if (policy === undefined) throw new Error(`${text} is no policy`);
  return policy;
}
