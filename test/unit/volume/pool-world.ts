/** A pool in a temporary folder, opened and reopened, and requests to its devices as promises. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import type { Outcome } from '../../../src/base/errors.ts';
import { type Disk, DiskError, type DiskFile } from '../../../src/base/ports.ts';
import { type BlockDevice, IoKind, IoRequest, IoStatus } from '../../../src/device/block-device.ts';
import { SystemDisk } from '../../../src/host/disk.ts';
import type { AckMode } from '../../../src/volume/catalogue/records.ts';
import type { StoreSettings } from '../../../src/volume/limits.ts';
import type { OpenSnapshot, Pool } from '../../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../../src/volume/pool-open.ts';
import type { PoolHost } from '../../../src/volume/ports.ts';
import { inlineHost, smallSettings } from '../../support/inline-host.ts';

export const blockBytes = 4096;

export async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

/** Opens the pool of a folder. */
export async function openOn(
  host: PoolHost,
  folder: string,
  settings: Partial<StoreSettings> = {},
  onFailed: (message: string) => void = (message) => {
    throw new Error(message);
  },
): Promise<OpenedPool> {
  return await ask((done) => {
    const options = {
      name: 'main',
      settings: { ...smallSettings(folder), ...settings },
      capacityBytes: 2 ** 30,
      pageCacheBytes: 2 ** 30,
      onFailed,
    };
    openPool(host, options, done);
  });
}

interface RefusedCall {
  readonly folder: string;
  readonly call: 'read' | 'write';
}

/**
 * A disk that refuses a call on the files of a folder that are there already. As it is by default the tail of the log cannot be
 * made durable in place.
 */
export class RefusingDisk extends SystemDisk {
  readonly #refused: RefusedCall;

  constructor(root: string, refused: RefusedCall = { folder: 'segments', call: 'write' }) {
    super(root);
    this.#refused = refused;
  }

  override open(...parameters: Parameters<SystemDisk['open']>): DiskFile {
    const file = super.open(...parameters);
    const [path, options] = parameters;
    const { folder, call } = this.#refused;
    if (options.create || !path.startsWith(`${folder}/`)) return file;
    return new Proxy(file, {
      get: (target, name) => {
        if (name === call) {
          return () => {
            throw new DiskError('EIO', `${path}: refused`);
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

/** Where a clone reads and writes. */
export interface ClonePlace {
  readonly source: BlockDevice;
  readonly sourceOffset: number;
  readonly offset: number;
  readonly length: number;
}

export class PoolWorld {
  #folder: string | undefined;
  readonly #hosts: ReturnType<typeof inlineHost>[] = [];
  readonly #settings: Partial<StoreSettings>;

  constructor(settings: Partial<StoreSettings> = {}) {
    this.#settings = settings;
  }

  /** Of this pool: made when it is first asked for, anew after `remove`. */
  get folder(): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), 'tidemark-pool-'));
    return this.#folder;
  }

  /** Opens the pool; one that is open is killed first. */
  async open(disk?: Disk, scrubBytesPerSecond = 0): Promise<OpenedPool> {
    this.kill();
    const host = inlineHost(this.folder, disk);
    this.#hosts.push(host);
    return await openOn(host, this.folder, {
      checkpointBytesMax: 2 ** 19,
      scrubBytesPerSecond,
      ...this.#settings,
    });
  }

  kill(): void {
    for (const host of this.#hosts.splice(0)) host.abandon();
  }

  remove(): void {
    this.kill();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }
}

/** A world for all tests of a file, each with a pool of its own. */
export function worldOfTests(settings?: Partial<StoreSettings>): PoolWorld {
  const world = new PoolWorld(settings);
  afterEach(() => {
    world.remove();
  });
  return world;
}

export function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

export async function close(pool: Pool): Promise<void> {
  await new Promise<void>((resolve) => {
    pool.close(resolve);
  });
}

export async function create(
  pool: Pool,
  name: string,
  blocks: number,
  ack?: AckMode,
): Promise<BlockDevice> {
  await ask((done) => {
    const sizeBytes = blocks * blockBytes;
    pool.volumeCreate({ name, sizeBytes, ...(ack === undefined ? {} : { ack }) }, done);
  });
  return pool.volumeOpen(name);
}

export async function snapshot(pool: Pool, volume: string, name: string): Promise<OpenSnapshot> {
  await ask((done) => {
    pool.snapshotCreate([{ volume, name }], done);
  });
  return await ask((done) => {
    pool.snapshotOpen(volume, name, done);
  });
}

export async function submit(
  device: BlockDevice,
  set: Partial<IoRequest>,
  onDone: () => void = () => undefined,
): Promise<IoRequest> {
  return await new Promise((resolve) => {
    const request = new IoRequest((finished) => {
      onDone();
      resolve(finished);
    });
    Object.assign(request, set);
    device.submit(request);
  });
}

/** Submits what brings bytes. */
export async function submitBytes(
  pool: Pool,
  device: BlockDevice,
  set: Partial<IoRequest> & { readonly offset: number; readonly bytes: Uint8Array },
  onDone?: () => void,
): Promise<IoRequest> {
  const { bytes, ...fields } = set;
  const payload = pool.staging.allocate(set.offset, bytes.length);
  if (payload === undefined) throw new Error('no room in staging');
  payload.fill(0, bytes, 0, bytes.length);
  return await submit(device, { ...fields, length: bytes.length, payload }, onDone);
}

export async function write(
  pool: Pool,
  device: BlockDevice,
  offset: number,
  bytes: Uint8Array,
): Promise<IoStatus> {
  return (await submitBytes(pool, device, { kind: IoKind.write, offset, bytes })).status;
}

export async function read(
  device: BlockDevice,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  const { status, isHole } = await submit(device, { kind: IoKind.read, offset, length, target });
  if (status !== IoStatus.ok) throw new Error(`read answered with status ${status}`);
  return isHole ? new Uint8Array(length) : target;
}

export async function clone(device: BlockDevice, place: ClonePlace): Promise<IoStatus> {
  return (await submit(device, { kind: IoKind.clone, ...place })).status;
}

export async function saveLuState(device: BlockDevice, state: Uint8Array): Promise<IoStatus> {
  return await new Promise((resolve) => {
    device.saveLuState(state, resolve);
  });
}

/** Whether a rebuild finds manifest and footers as they must be, and verify finds nothing wrong. */
export async function isSound(pool: Pool): Promise<boolean> {
  const faults = await new Promise<readonly string[]>((resolve) => {
    pool.verify(
      () => undefined,
      (report) => {
        resolve(report.faults);
      },
    );
  });
  const { wasEqual } = await ask<{ wasEqual: boolean }>((done) => {
    pool.rebuild(() => undefined, done);
  });
  return faults.length === 0 && wasEqual;
}
