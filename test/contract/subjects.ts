/**
 * What the contract of a block device is run against: the store's volume over real files (durable and write-back), and the
 * memory device that the protocol tests use. And requests to it as promises.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect } from 'vitest';
import type { Outcome } from '../../src/base/errors.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  type Extent,
  IoKind,
  IoRequest,
  IoStatus,
} from '../../src/device/block-device.ts';
import { Staging } from '../../src/device/staging.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { openPool } from '../../src/volume/pool-open.ts';
import { inlineHost, smallSettings } from '../support/inline-host.ts';
import { MemoryDevice } from '../support/memory-device.ts';

export const sizeBytes = 32 * blockSizeBytes;

export interface Subject {
  readonly device: BlockDevice;
  /** Of the same pool and size. */
  readonly other: BlockDevice;
  /** Of another pool. */
  readonly foreign: BlockDevice;
  readonly staging: Staging;
  close(): void;
}

interface Implementation {
  readonly name: string;
  open(): Promise<Subject>;
}

const closers: (() => void)[] = [];

afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function outcomeOf<T>(start: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  start((outcome) => {
    if (outcome.ok) resolve(outcome.value);
    else reject(outcome.error);
  });
  return await promise;
}

const foreignSlab = new Uint8Array(new SharedArrayBuffer(4 << 20));
const foreign = new MemoryDevice({ sizeBytes, slab: foreignSlab });

async function openVolume(ack: AckMode): Promise<Subject> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-contract-'));
  const host = inlineHost(folder);
  const close = (): void => {
    host.abandon();
    fs.rmSync(folder, { recursive: true, force: true });
  };
  closers.push(close);
  const opened = await outcomeOf<{ readonly pool: Pool }>((done) => {
    const settings = smallSettings(folder);
    const options = { name: 'main', settings, capacityBytes: 2 ** 30, pageCacheBytes: 2 ** 30 };
    openPool(host, { ...options, onFailed: () => undefined }, done);
  });
  const { pool } = opened;
  for (const name of ['volume', 'other']) {
    await outcomeOf((done) => {
      pool.volumeCreate({ name, sizeBytes, ack }, done);
    });
  }
  const device = pool.volumeOpen('volume');
  return { device, other: pool.volumeOpen('other'), foreign, staging: pool.staging, close };
}

export const implementations: readonly Implementation[] = [
  { name: 'the volume of the store', open: async () => await openVolume(AckMode.durable) },
  { name: 'its write-back volume', open: async () => await openVolume(AckMode.writeBack) },
  {
    name: 'the memory device of the tests',
    open: async () => {
      const staging = new Staging(new SharedArrayBuffer(4 << 20));
      const device = new MemoryDevice({ sizeBytes, slab: staging.bytes });
      const other = new MemoryDevice({ sizeBytes, slab: staging.bytes });
      return await Promise.resolve({ device, other, foreign, staging, close: () => undefined });
    },
  },
];

/** Runs one request to its end; `onDone` must come exactly once. */
export async function submit(device: BlockDevice, set: Partial<IoRequest>): Promise<IoRequest> {
  const { promise, resolve } = Promise.withResolvers<IoRequest>();
  let doneCount = 0;
  const request = new IoRequest((finished) => {
    doneCount += 1;
    expect(doneCount).toBe(1);
    resolve(finished);
  });
  Object.assign(request, set);
  device.submit(request);
  return await promise;
}

/** Submits what brings a payload. */
export async function submitBytes(
  subject: Subject,
  bytes: Uint8Array,
  set: Partial<IoRequest> & { readonly offset: number },
): Promise<IoRequest> {
  const payload = subject.staging.allocate(set.offset, bytes.length);
  if (payload === undefined) throw new Error('no room in staging');
  payload.fill(0, bytes, 0, bytes.length);
  return await submit(subject.device, { ...set, length: bytes.length, payload });
}

export async function write(
  subject: Subject,
  offset: number,
  bytes: Uint8Array,
): Promise<IoStatus> {
  return (await submitBytes(subject, bytes, { kind: IoKind.write, offset })).status;
}

export async function compareAndWrite(
  subject: Subject,
  offset: number,
  { expected, bytes }: { readonly expected: Uint8Array; readonly bytes: Uint8Array },
): Promise<IoRequest> {
  const kind = IoKind.compareAndWrite;
  return await submitBytes(subject, bytes, { kind, offset, expected });
}

export async function saveLuState(device: BlockDevice, state: Uint8Array): Promise<IoStatus> {
  const { promise, resolve } = Promise.withResolvers<IoStatus>();
  device.saveLuState(state, resolve);
  return await promise;
}

export async function read(
  device: BlockDevice,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const target = new Uint8Array(length).fill(0xee);
  const request = await submit(device, { kind: IoKind.read, offset, length, target });
  expect(request.status).toBe(IoStatus.ok);
  // A hole leaves the target alone: the reader treats it as zeros.
  return request.isHole ? new Uint8Array(length) : target;
}

export async function extentsOf(
  device: BlockDevice,
  extentsMax = 1000,
): Promise<readonly Extent[]> {
  const { promise, resolve } = Promise.withResolvers<readonly Extent[]>();
  device.extents(0, device.sizeBytes, extentsMax, (extents) => {
    resolve(extents.map((extent) => ({ ...extent })));
  });
  return await promise;
}
