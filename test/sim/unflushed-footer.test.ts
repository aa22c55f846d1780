/**
 * A process is killed at any of its disk calls, another one opens the pool, and then the machine is lost: what the second one
 * counted as sealed still is, whether the first one had flushed it or not.
 */
import { describe, expect, it } from 'vitest';
import { IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { ContentTable, stampedBytes } from './content.ts';
import { crashed, kill, loss } from './crash.ts';
import { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import type { DiskCall, DiskFault } from './virtual-disk.ts';
import { LossStyle } from './virtual-file.ts';

const blockBytes = 4096;
const pieceBytes = 24 * blockBytes;
const pieces = 7;
const segmentBytes = 64 * blockBytes;
const eventsMax = 10_000;
/** Seals and the manifest follow the log by less than this. */
const settledMs = 2000;
/** A process is killed so many events later, so many times at most. */
const eventsPerTry = 5;
const triesMax = 60;

function start(
  machine: Machine,
  seed: number,
  watch: {
    readonly onPoint?: (what: string) => void;
    readonly fault?: (call: DiskCall) => DiskFault | undefined;
  } = {},
): StoreProcess {
  const random = new SeededRandom(seed);
  const process = new StoreProcess({ machine, random, cleaner: 'off', ...watch });
  process.open();
  return process;
}

/** Several segments full. */
function fill(process: StoreProcess): void {
  let isMade = false;
  process.pool.volumeCreate({ name: 'v', sizeBytes: pieces * pieceBytes }, ({ ok }) => {
    isMade = ok;
  });
  process.runUntil(() => isMade, eventsMax, 'the volume');
  for (let piece = 0; piece < pieces; piece += 1) {
    let isDone = false;
    const request = new IoRequest(() => {
      isDone = true;
    });
    const offset = piece * pieceBytes;
    Object.assign(request, { kind: IoKind.write, offset, length: pieceBytes, status: undefined });
    request.payload = process.allocate(offset, pieceBytes);
    request.payload?.fill(0, stampedBytes(1, piece, offset, pieceBytes), 0, pieceBytes);
    process.openVolume('v').submit(request);
    process.runUntil(() => isDone, eventsMax, 'a write');
    expect(request.status).toBe(IoStatus.ok);
  }
}

function isOfSegment(what: string): boolean {
  return what.includes('segments/');
}

describe('a footer that was written and not flushed', () => {
  it('is durable before its segment counts as sealed, wherever the process was killed', () => {
    const machine = new Machine();
    const points: { readonly what: string; readonly machine: Machine }[] = [];
    const onPoint = (what: string): void => {
      if (isOfSegment(what)) points.push({ what, machine: machine.copy() });
    };
    const first = start(machine, 1, { onPoint });
    fill(first);
    first.passTime(settledMs);
    first.kill();
    expect(points.length).toBeGreaterThan(20);
    for (const [index, point] of points.entries()) {
      const killed = crashed(point.machine, kill);
      const second = start(killed, index);
      second.passTime(settledMs);
      second.kill();
      const third = start(crashed(killed, loss(LossStyle.none, 0)), index);
      expect(third.verify(), `killed ${point.what}`).toEqual([]);
      third.kill();
    }
  });

  it('does not count when the disk will not keep it: the frames are read, and sealed again later', () => {
    const machine = new Machine();
    const first = start(machine, 3);
    fill(first);
    const contents = new ContentTable();
    const written = first.observe(contents);
    let refused = 0;
    const fault = ({ kind, path, position }: DiskCall): DiskFault | undefined => {
      const isFooter = isOfSegment(path) && position >= segmentBytes;
      if (kind !== 'write' || !isFooter) return undefined;
      refused += 1;
      return { kind: 'error', code: 'EIO' };
    };
    const wasRefused = (): boolean => refused > 0;
    let killed = machine;
    let second = first;
    // Killed ever later, until seals are through and the manifest has not heard of them: then footers are written again.
    for (let tries = 0; tries < triesMax && !wasRefused(); tries += 1) {
      if (tries > 0) second.kill();
      first.runSome(eventsPerTry);
      killed = crashed(machine.copy(), kill);
      second = start(killed, 4, { fault });
    }
    first.kill();
    expect(wasRefused()).toBe(true);
    second.passTime(settledMs);
    expect(second.observe(contents)).toEqual(written);
    second.kill();

    const lost = crashed(killed, loss(LossStyle.none, 0));
    const third = start(lost, 5);
    third.passTime(settledMs);
    expect(third.observe(contents)).toEqual(written);
    expect(third.verify()).toEqual([]);
    third.requireEqualRebuild();
    third.kill();
  });
});
