/** Looks at what a pool says of past moments through its front doors: contents, bitmaps, diffs. */
import type { Outcome } from '../../src/base/errors.ts';
import {
  type BlockDevice,
  blockSizeBytes,
  IoKind,
  IoRequest,
  IoStatus,
} from '../../src/device/block-device.ts';
import type { ChangeRun } from '../../src/volume/history/diff.ts';
import type { Diff, DiffOptions } from '../../src/volume/history.ts';
import type { OpenChanges } from '../../src/volume/pool.ts';
import { Violation } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import type { StoreProcess } from './store-process.ts';

const eventsMax = 200_000;

/** The number that each block of a device holds. Throws Violation for a block of two writes. */
export function readNumbers(process: StoreProcess, device: BlockDevice): number[] {
  let isDone = false;
  const request = new IoRequest(() => {
    isDone = true;
  });
  const words = new Uint32Array(device.sizeBytes / 4).fill(0xeeeeeeee);
  request.kind = IoKind.read;
  request.length = device.sizeBytes;
  request.target = new Uint8Array(words.buffer);
  device.submit(request);
  process.runUntil(() => isDone, eventsMax, `read of ${device.name}`);
  if (request.status !== IoStatus.ok) throw new Violation(`read answered ${request.status}`);
  if (request.isHole) words.fill(0);
  const perBlock = blockSizeBytes / 4;
  return Array.from({ length: device.sizeBytes / blockSizeBytes }, (_, block) => {
    const own = words.subarray(block * perBlock, (block + 1) * perBlock);
    const [value = 0] = own;
    if (own.some((word) => word !== value)) throw new Violation(`torn block ${block}`);
    return value;
  });
}

/** Changed blocks by the dirty bitmap, asked for in random portions. */
export function bitmapBlocks(
  process: StoreProcess,
  diff: OpenChanges['diff'],
  blockCount: number,
  random: SeededRandom,
): number[] {
  const changed: number[] = [];
  const end = blockCount * blockSizeBytes;
  let offset = 0;
  while (offset < end) {
    const answers: (readonly ChangeRun[])[] = [];
    diff.runs({ offset, length: end - offset }, random.between(1, 5), (found) => {
      answers.push(found);
    });
    process.runUntil(() => answers.length > 0, eventsMax, 'runs of a bitmap');
    const [runs = []] = answers;
    if (runs.length === 0) throw new Violation(`no runs at ${offset}`);
    for (const { length, isChanged } of runs) {
      if (isChanged) changed.push(...blocksOf({ offset, length }));
      offset += length;
    }
  }
  return changed;
}

/** Changed blocks by the diff, page by page. */
export function diffBlocks(
  process: StoreProcess,
  between: Pick<DiffOptions, 'volume' | 'from' | 'to'>,
  random: SeededRandom,
): number[] {
  const changed: number[] = [];
  const extentsMax = random.between(1, 4);
  let offset: number | undefined = 0;
  while (offset !== undefined) {
    const page = diffPage(process, { ...between, offset, extentsMax });
    if (page.extents.length > extentsMax) throw new Violation('a page is too long');
    for (const extent of page.extents) changed.push(...blocksOf(extent));
    offset = page.nextOffset;
  }
  return changed;
}

function diffPage(process: StoreProcess, options: DiffOptions): Diff {
  const answers: Outcome<Diff>[] = [];
  process.pool.history.diff(options, (outcome) => {
    answers.push(outcome);
  });
  process.runUntil(() => answers.length > 0, eventsMax, 'a page of a diff');
  const [answer] = answers;
  if (answer?.ok !== true) throw new Violation(`diff: ${answer?.error.message ?? 'no answer'}`);
  return answer.value;
}

function blocksOf({ offset, length }: { offset: number; length: number }): number[] {
  const first = offset / blockSizeBytes;
  return Array.from({ length: length / blockSizeBytes }, (_, index) => first + index);
}
