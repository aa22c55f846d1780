/** A file system that is full below a pool, and trims without end: the engine goes on, and deletes still find room. */
import { describe, expect, it } from 'vitest';
import { ErrorCode, type OperationError } from '../../src/base/errors.ts';
import { IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { ContentTable, stampedBytes } from './content.ts';
import { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

const blockBytes = 4096;
const segmentBytes = 64 * blockBytes;
const volumeBytes = 512 * blockBytes;
const eventsMax = 20_000;
const trimsMax = 5000;

function submit(process: StoreProcess, fields: Partial<IoRequest>): IoStatus {
  let isDone = false;
  const request = new IoRequest(() => {
    isDone = true;
  });
  Object.assign(request, fields);
  process.openVolume('v').submit(request);
  process.runUntil(() => isDone || process.failure !== undefined, eventsMax, 'an answer');
  expect(process.failure).toBeUndefined();
  return request.status;
}

function write(process: StoreProcess, block: number): IoStatus {
  const length = 8 * blockBytes;
  const payload = process.allocate(block * blockBytes, length);
  payload?.fill(0, stampedBytes(1, block, block * blockBytes, length), 0, length);
  return submit(process, { kind: IoKind.write, offset: block * blockBytes, length, payload });
}

function trim(process: StoreProcess, block: number): IoStatus {
  return submit(process, { kind: IoKind.trim, offset: block * blockBytes, length: blockBytes });
}

describe('a flood of trims on a full file system', () => {
  it.each([1, 2, 3, 4, 5])('is refused before the log has no room, seed %i', (seed) => {
    const machine = new Machine();
    const process = new StoreProcess({ machine, random: new SeededRandom(seed), cleaner: 'off' });
    process.open();
    for (const name of ['v', 'other']) {
      let isMade = false;
      process.pool.volumeCreate({ name, sizeBytes: volumeBytes }, ({ ok }) => {
        isMade = ok;
      });
      process.runUntil(() => isMade, eventsMax, 'a volume');
    }
    machine.image.capacityBytes = machine.image.usedBytes() + (6 + seed) * segmentBytes;
    let written = IoStatus.ok as IoStatus;
    for (let block = 0; written === IoStatus.ok; block = (block + 8) % 512) {
      written = write(process, block);
    }
    expect(written).toBe(IoStatus.noSpace);

    let trimmed = IoStatus.ok as IoStatus;
    let count = 0;
    for (; trimmed === IoStatus.ok && count < trimsMax; count += 1) {
      trimmed = trim(process, count % 512);
    }
    expect(trimmed).toBe(IoStatus.noSpace);
    expect(count).toBeGreaterThan(10);
    process.passTime(3000);
    const refusals: OperationError[] = [];
    for (let index = 0; refusals.length === 0; index += 1) {
      let isAnswered = false;
      process.pool.snapshotCreate([{ volume: 'v', name: `s${index}` }], (outcome) => {
        isAnswered = true;
        if (!outcome.ok) refusals.push(outcome.error);
      });
      process.runUntil(() => isAnswered, eventsMax, 'a snapshot');
    }
    expect(refusals[0]?.code).toBe(ErrorCode.noSpace);

    let isDeleted = false;
    process.pool.volumeDelete({ name: 'other', force: true }, ({ ok }) => {
      isDeleted = ok;
    });
    process.runUntil(() => isDeleted, eventsMax, 'the deletion');
    const shown = process.observe(new ContentTable());
    expect(shown.get('v')?.contents.length).toBe(512);
    machine.image.capacityBytes = Number.MAX_SAFE_INTEGER;
    process.passTime(3000);
    expect(trim(process, 1)).toBe(IoStatus.ok);
    expect(write(process, 0)).toBe(IoStatus.ok);
    expect(process.failure).toBeUndefined();
    process.kill();

    const next = new StoreProcess({ machine, random: new SeededRandom(seed + 100) });
    next.open();
    expect(next.pool.volumes().map(({ name }) => name)).toEqual(['v']);
    next.kill();
  });
});
