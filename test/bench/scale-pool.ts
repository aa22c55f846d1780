/**
 * A pool that looks like one of many TiB to whoever opens it: a short real log behind as many segments as that would have, of
 * which there are names of files and of index runs, and rows in the manifest, but no bytes.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Outcome } from '../../src/base/errors.ts';
import { IoKind, IoRequest } from '../../src/device/block-device.ts';
import { SystemDisk } from '../../src/host/disk.ts';
import { addressOf, positionOf } from '../../src/volume/format/address.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  decodeRowGroup,
  rowGroupOf,
  type SegmentRow,
} from '../../src/volume/format/segment-rows.ts';
import { runPath } from '../../src/volume/index/run-path.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import { segmentPath } from '../../src/volume/log/segment-path.ts';
import { openSqlite } from '../../src/volume/manifest-database.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../src/volume/pool-open.ts';
import { Manifest } from '../../src/volume/recovery/manifest.ts';
import { readSuperblock, writeSuperblock } from '../../src/volume/recovery/superblock-file.ts';
import { inlineHost } from '../support/inline-host.ts';

export const scaleVolume = 'bench';
const checkpointBytes = 64 * 2 ** 20;
const pieceBytes = 2 ** 20;
const snapshotsPerCut = 500;
const slots = 8192;

export async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

export async function openScalePool(folder: string): Promise<OpenedPool> {
  const settings = {
    ...defaultSettings,
    checkpointBytes,
    scrubBytesPerSecond: 0,
    manifestPath: `${folder}/manifest.db`,
  };
  const options = {
    name: 'main',
    settings,
    capacityBytes: 2 ** 45,
    pageCacheBytes: 2 ** 30,
    onFailed: (message: string) => {
      throw new Error(message);
    },
  };
  return await ask((done) => {
    openPool(inlineHost(folder), options, done);
  });
}

export async function closePool(pool: Pool): Promise<void> {
  await new Promise<void>((resolve) => {
    pool.close(resolve);
  });
}

/** Makes the pool in an empty folder. */
export async function makeScalePool(
  folder: string,
  { segments, snapshots }: { readonly segments: number; readonly snapshots: number },
): Promise<void> {
  await closePool((await openScalePool(folder)).pool);
  fs.rmSync(path.join(folder, 'segments'), { recursive: true });
  fs.mkdirSync(path.join(folder, 'segments'));
  for (const name of fs.readdirSync(folder)) {
    if (name.startsWith('manifest')) fs.rmSync(path.join(folder, name));
  }
  const disk = new SystemDisk(folder);
  const superblock = readSuperblock(disk);
  const generation = superblock.generation + 1;
  writeSuperblock(disk, { ...superblock, generation, durableThrough: 0, segIdHighWater: segments });
  await fill(folder, snapshots);
  if (segments > 0) putBefore(folder, superblock.poolUuid, segments);
}

/** A volume, data beyond the second checkpoint, and snapshots. */
async function fill(folder: string, snapshots: number): Promise<void> {
  const { pool } = await openScalePool(folder);
  await ask((done) => {
    pool.volumeCreate({ name: scaleVolume, sizeBytes: 2 ** 40 }, done);
  });
  for (let first = 0; first < snapshots; first += snapshotsPerCut) {
    const targets = Array.from(
      { length: Math.min(snapshotsPerCut, snapshots - first) },
      (_, at) => ({
        volume: scaleVolume,
        name: `s${first + at}`,
      }),
    );
    await ask((done) => {
      pool.snapshotCreate(targets, done);
    });
  }
  const device = pool.volumeOpen(scaleVolume);
  for (let at = 0; at < 4 * checkpointBytes; at += pieceBytes) {
    const payload = pool.staging.allocate(at, pieceBytes);
    if (payload === undefined) throw new Error('no room in staging');
    payload.fill(0, new Uint8Array(pieceBytes).fill(at / pieceBytes), 0, pieceBytes);
    await new Promise<void>((resolve) => {
      const request = new IoRequest(() => {
        resolve();
      });
      device.submit(
        Object.assign(request, { kind: IoKind.write, offset: at, length: pieceBytes, payload }),
      );
    });
  }
  await closePool(pool);
}

/** Names of all runs of segments 1 to `count`: nobody looks into them, for no volume was there then. */
function putRuns(folder: string, manifest: Manifest, count: number): void {
  fs.mkdirSync(path.join(folder, 'runs'), { recursive: true });
  for (let level = 1, span = 8; span <= count; level += 1, span *= 8) {
    for (let firstSegId = 0; firstSegId + span <= count + 1; firstSegId += span) {
      fs.closeSync(fs.openSync(path.join(folder, runPath({ level, firstSegId })), 'w'));
      const position = positionOf(addressOf(firstSegId, 1), 0);
      manifest.addRun({
        level,
        firstSegId,
        positionLow: position,
        positionHigh: position,
        bytes: 0,
        entryCount: 0,
        digest: new Uint8Array(32),
      });
    }
  }
}

/** Segments 1 to `count` before those that are there. */
function putBefore(folder: string, poolUuid: Uint8Array, count: number): void {
  for (let segId = 1; segId <= count; segId += 1) {
    fs.closeSync(fs.openSync(path.join(folder, segmentPath(segId)), 'w'));
  }
  const database = openSqlite(`${folder}/manifest.db`);
  const seeds = new Seeds(poolUuid);
  const group = rowGroupOf(count + 1);
  const found = database
    .prepare('SELECT rows FROM segment_group WHERE id = ?')
    .pluck()
    .get(group) as Uint8Array;
  const real = decodeRowGroup(group, found, seeds)?.find(({ segId }) => segId === count + 1);
  if (real === undefined) throw new Error('the first real segment has no row');
  const manifest = new Manifest(database, poolUuid);
  const rows: SegmentRow[] = [];
  let digest = new Uint8Array(32);
  for (let segId = 1; segId <= count; segId += 1) {
    const previousTag = digest.subarray(0, 8);
    digest = Uint8Array.from({ length: 32 }, (_, at) => segId * 31 + at);
    rows.push({
      segId,
      epoch: 1,
      hlcMs: segId,
      endSlot: slots,
      entryCount: slots,
      previousSegId: segId - 1,
      previousTag,
      digest,
    });
  }
  const { segId, epoch, hlcMs, endSlot, entryCount } = real;
  const described = { segId, epoch, hlcMs, endSlot, entryCount, digest: real.digest };
  rows.push({ ...described, previousSegId: count, previousTag: digest.subarray(0, 8) });
  manifest.apply([], rows);
  database.transaction(() => {
    putRuns(folder, manifest, count);
  })();
  manifest.close();
}
