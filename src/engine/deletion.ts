/**
 * What deleting a volume or view destroys, and the refusal that says so.
 *
 *     volume   its data                                 ┐
 *     view     what was written to it since it was made ├ + snapshots, NBD connections, LUN maps: any of it needs force
 *              (its source keeps the rest)              ┘
 */
import { ErrorCode, OperationError } from '../base/errors.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import { type BlockDevice, type Extent, ExtentState } from '../device/block-device.ts';
import type { Pool } from '../volume/pool.ts';
import { ask } from './history-handlers.ts';

/** Hosts and snapshots that a message names one by one. */
const NAMED_MAX = 8;
/** Runs of a map that are looked at in one go. */
const EXTENTS_MAX = 1024;

type Volume = ReturnType<Pool['volume']>;

/** What goes with a volume or view. */
export interface Loss {
  readonly name: string;
  readonly kind: 'volume' | 'view';
  readonly sizeBytes: number;
  /** Bytes of data that are nowhere else; undefined = there is some, and nobody has counted it yet. */
  readonly dataBytes: number | undefined;
  /** By name. */
  readonly snapshots: readonly string[];
  readonly connectionCount: number;
  readonly maps: readonly { readonly host: string; readonly lun: number }[];
}

/** The refusal of a deletion that nobody consented to; undefined when nothing would be lost. */
export function deletionRefusal(loss: Loss): OperationError | undefined {
  const { kind, name, sizeBytes, connectionCount, maps } = loss;
  const destroyed = [...dataText(loss), ...snapshotsText(loss.snapshots)];
  const parts = [
    ...(destroyed.length === 0 ? [] : [`destroys ${destroyed.join(' and ')}`]),
    ...(connectionCount === 0 ? [] : [`drops ${count(connectionCount, 'NBD connection')}`]),
    ...(maps.length === 0 ? [] : [`takes it away from ${mapsText(maps)}`]),
  ];
  if (parts.length === 0) return undefined;
  const end = kind === 'view' ? '; its source stays as it is' : '';
  return new OperationError(
    ErrorCode.needsForce,
    `deleting ${kind} ${name} (${formatSize(sizeBytes)}) ${parts.join(', and ')}; ` +
      `its past moments go with it, and this cannot be undone${end}`,
    'Disconnect the clients and unmap it first, or repeat with --force.',
  );
}

/** Bytes of data that only this volume or view has: 0 = none; undefined = some, and it takes long to count it. */
export async function ownBytes(pool: Pool, volume: Volume): Promise<number | undefined> {
  if (volume.view !== undefined) return await writtenBytes(pool, volume.name);
  const mapped = pool.mappedBytes(volume);
  if (mapped > 0) return mapped;
  // Soon after opening the map is not in memory yet: the count says too little then.
  return (await hasData(pool.volumeOpen(volume.name))) ? undefined : 0;
}

/** What was written to a view since it was made, trims and zeros included: they took something out of its content. */
async function writtenBytes(pool: Pool, name: string): Promise<number | undefined> {
  const { buckets } = await ask<{
    readonly buckets: readonly { readonly writtenBytes: number; readonly clearedBytes: number }[];
  }>((done) => {
    const options = { volume: name, from: undefined, to: undefined, bucketCount: 1, gapsMax: 0 };
    pool.history.rate(options, () => undefined, done);
  });
  const bytes = buckets.reduce((sum, each) => sum + each.writtenBytes + each.clearedBytes, 0);
  // Before the window nobody knows any more.
  return bytes === 0 && pool.volume(name).horizon !== undefined ? undefined : bytes;
}

async function hasData(device: BlockDevice): Promise<boolean> {
  const { sizeBytes } = device;
  for (let at = 0; at < sizeBytes; ) {
    const extents = await new Promise<readonly Extent[]>((resolve) => {
      device.extents(at, sizeBytes - at, EXTENTS_MAX, resolve);
    });
    if (extents.some(({ state }) => state === ExtentState.data)) return true;
    // Nothing is told of a device that just went away: whoever goes on finds that out.
    if (extents.length === 0) return false;
    at += extents.reduce((sum, { length }) => sum + length, 0);
  }
  return false;
}

function dataText({ kind, dataBytes }: Loss): string[] {
  if (dataBytes === 0) return [];
  if (dataBytes === undefined) return ['its data (not counted yet)'];
  return [`${formatSize(dataBytes)} ${kind === 'view' ? 'written to it' : 'of data'}`];
}

function snapshotsText(names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${count(names.length, 'snapshot')} (${listText(names)})`];
}

function mapsText(maps: Loss['maps']): string {
  return listText(maps.map(({ host, lun }) => `host ${host} (LUN ${lun})`));
}

function listText(texts: readonly string[]): string {
  const shown = texts.slice(0, NAMED_MAX).join(', ');
  const moreCount = texts.length - NAMED_MAX;
  return moreCount > 0 ? `${shown} and ${moreCount} more` : shown;
}
