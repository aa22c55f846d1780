/**
 * A pool that looks like one of many TiB: a short real log behind as many segments as that would have, of which there are names
 * of files, rows in the manifest and index runs, but no data. Its volume keeps every write of thirty days, and the log is of them.
 */
import fs from 'node:fs';
import path from 'node:path';
import { present } from '../../src/base/assert.ts';
import { parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import type { Outcome } from '../../src/base/errors.ts';
import type { Clock, Timers } from '../../src/base/ports.ts';
import { IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { systemClock } from '../../src/host/clock.ts';
import { SystemDisk } from '../../src/host/disk.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  decodeRowGroup,
  rowGroupOf,
  type SegmentRow,
} from '../../src/volume/format/segment-rows.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import { segmentPath } from '../../src/volume/log/segment-path.ts';
import { openSqlite } from '../../src/volume/manifest-database.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { type OpenedPool, openPool } from '../../src/volume/pool-open.ts';
import type { PoolHost } from '../../src/volume/ports.ts';
import { Manifest } from '../../src/volume/recovery/manifest.ts';
import { readSuperblock, writeSuperblock } from '../../src/volume/recovery/superblock-file.ts';
import { inlineHost } from '../support/inline-host.ts';
import { cutsOf, rowsOf, ScaleIndex } from './scale-index.ts';

export const scaleVolume = 'bench';
/** Every write of so long is kept: all of the log, which is a day shorter. */
const windowPolicy = 'all:30d';
const dayMs = 86_400_000;
const logMs = 29 * dayMs;
const checkpointBytes = 64 * 2 ** 20;
const pieceBytes = 2 ** 20;
const snapshotsPerCut = 500;
const volumeBytes = 16 * 2 ** 40;
const freeBytes = 2 ** 45;

export async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

/** `host`: by default one that does everything on one thread; `agoMs`: it is so long ago for the pool. */
export async function openScalePool(
  folder: string,
  {
    agoMs = 0,
    host = inlineHost(folder, new RoomyDisk(folder), timeBefore(agoMs)),
  }: { readonly agoMs?: number; readonly host?: PoolHost } = {},
): Promise<OpenedPool> {
  const settings = {
    ...defaultSettings,
    checkpointBytesMax: checkpointBytes,
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
    openPool(host, options, done);
  });
}

/** A disk with room for a log of many TiB: of that there are only names, and no write may be refused for it. */
export class RoomyDisk extends SystemDisk {
  override freeBytes(): number {
    return freeBytes;
  }
}

function timeBefore(agoMs: number): { readonly clock: Clock; readonly timers: Timers } {
  const clock = { ...systemClock, wallMs: () => systemClock.wallMs() - agoMs };
  return { clock, timers: systemTimers };
}

export async function closePool(pool: Pool): Promise<void> {
  await new Promise<void>((resolve) => {
    pool.close(resolve);
  });
}

/** Makes the pool in an empty folder: `segments` of a log with its index, then a short real log, and the snapshots. */
export async function makeScalePool(
  folder: string,
  { segments, snapshots }: { readonly segments: number; readonly snapshots: number },
): Promise<void> {
  const { pool } = await openScalePool(folder, { agoMs: logMs });
  const policy = present(parseCdpPolicy(windowPolicy), 'policy of the volume');
  await ask((done) => {
    pool.volumeCreate({ name: scaleVolume, sizeBytes: volumeBytes, policy }, done);
  });
  const { line } = pool.volume(scaleVolume);
  await closePool(pool);
  if (segments > 0) skipTo(folder, segments);
  await fill(folder);
  if (segments > 0) putBefore(folder, line, segments);
  await takeSnapshots(folder, segments, snapshots);
}

/** The next segment of the log has an id behind `lastSegId`. */
function skipTo(folder: string, lastSegId: number): void {
  const disk = new SystemDisk(folder);
  for (const name of disk.list('segments').slice(1)) disk.remove(`segments/${name}`);
  const superblock = readSuperblock(disk);
  const generation = superblock.generation + 1;
  writeSuperblock(disk, { ...superblock, generation, segIdHighWater: lastSegId });
}

/** Data beyond the second checkpoint. */
async function fill(folder: string): Promise<void> {
  const { pool } = await openScalePool(folder);
  await writeData(pool, 4 * checkpointBytes);
  await closePool(pool);
}

/** Behind what the log of many TiB maps. */
async function writeData(pool: Pool, bytes: number): Promise<void> {
  const device = pool.volumeOpen(scaleVolume);
  for (let at = 0; at < bytes; at += pieceBytes) {
    const offset = volumeBytes / 2 + volumeBytes / 4 + at;
    const payload = present(pool.staging.allocate(offset, pieceBytes), 'room in staging');
    payload.fill(0, new Uint8Array(pieceBytes).fill(at / pieceBytes), 0, pieceBytes);
    await new Promise<void>((resolve, reject) => {
      const request = new IoRequest(() => {
        if (request.status === IoStatus.ok) resolve();
        else reject(new Error(`a write ended with status ${request.status}`));
      });
      Object.assign(request, { kind: IoKind.write, offset, length: pieceBytes, payload });
      device.submit(request);
    });
  }
}

/** At the cuts of the log that was never written, as many at each, or all of now. */
async function takeSnapshots(folder: string, segments: number, count: number): Promise<void> {
  const { pool } = await openScalePool(folder);
  const cuts = segments > 0 ? cutsOf(segments).map((cut) => `position:${cut}`) : ['now'];
  const share = Math.ceil(count / cuts.length);
  for (const [index, at] of cuts.entries()) {
    const end = Math.min(count, (index + 1) * share);
    for (let first = index * share; first < end; first += snapshotsPerCut) {
      const names = Array.from(
        { length: Math.min(snapshotsPerCut, end - first) },
        (_, each) => `s${first + each}`,
      );
      const targets = names.map((name) => ({ volume: scaleVolume, name }));
      await ask((done: Parameters<Pool['snapshotCreate']>[1]) => {
        pool.snapshotCreate(targets, done, at);
      });
    }
  }
  // The newest checkpoint lies behind the records of all of them, as it does in a pool that is written.
  await writeData(pool, 2 * checkpointBytes);
  await closePool(pool);
}

/** Segments 2 to `count` between the first one and those that were written behind them, and the index of all of them. */
function putBefore(folder: string, line: number, count: number): void {
  const { poolUuid } = readSuperblock(new SystemDisk(folder));
  for (let segId = 2; segId <= count; segId += 1) {
    fs.closeSync(fs.openSync(path.join(folder, segmentPath(segId)), 'w'));
  }
  const database = openSqlite(`${folder}/manifest.db`);
  const seeds = new Seeds(poolUuid);
  const realRow = (segId: number): SegmentRow => {
    const group = rowGroupOf(segId);
    const found = database
      .prepare('SELECT rows FROM segment_group WHERE id = ?')
      .pluck()
      .get(group) as Uint8Array;
    const row = decodeRowGroup(group, found, seeds)
      ?.rows()
      .find((each) => each.segId === segId);
    if (row === undefined) throw new Error(`segment ${segId} has no row`);
    const { epoch, hlcMs, endSlot, entryCount, previousSegId } = row;
    const copied = { previousTag: row.previousTag.slice(), tag: row.tag.slice() };
    return { segId, epoch, hlcMs, endSlot, entryCount, previousSegId, ...copied };
  };
  const behind = realRow(count + 1);
  const first = realRow(1);
  const rows = rowsOf(first, count, behind.hlcMs - first.hlcMs);
  const previousTag = present(rows.at(-1), 'last segment').tag;
  const manifest = new Manifest(database, poolUuid);
  manifest.apply([], [...rows, { ...behind, previousSegId: count, previousTag }]);
  const rowOf = (segId: number): SegmentRow => present(rows[segId - 1], 'row of a segment');
  const index = new ScaleIndex({ folder, poolUuid, seeds, line, lastSegId: count, rowOf });
  index.putFooters();
  database.transaction(() => {
    for (const run of index.putRuns()) manifest.addRun(run);
  })();
  manifest.close();
}
