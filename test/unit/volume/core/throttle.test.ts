import { beforeEach, describe, expect, it } from 'vitest';
import { IoKind, IoRequest } from '../../../../src/device/block-device.ts';
import { Staging } from '../../../../src/device/staging.ts';
import { Throttle } from '../../../../src/volume/core/throttle.ts';
import { Line } from '../../../../src/volume/io/line.ts';
import { limits } from '../../../../src/volume/limits.ts';
import { BlockMap } from '../../../../src/volume/map/block-map.ts';
import { LeafStore } from '../../../../src/volume/map/leaf-store.ts';
import { VirtualTime } from '../../../support/virtual-time.ts';

const blockBytes = 4096;
const leaves = new LeafStore();
const staging = new Staging(new SharedArrayBuffer(16 * 2 ** 20));
let time: VirtualTime;
let lineById: Map<number, Line>;
let released: { line: number; offset: number; atMs: number }[];
let throttle: Throttle;

beforeEach(() => {
  time = new VirtualTime();
  lineById = new Map([1, 2].map((id) => [id, new Line(id, new BlockMap(leaves, 10_000), 10_000)]));
  released = [];
  throttle = new Throttle(
    { lineById, staging, host: { clock: time, timers: time } },
    (request, line) => {
      released.push({ line: line.id, offset: request.offset, atMs: time.monotonicMs() });
    },
  );
});

function lineOf(id: number): Line {
  const line = lineById.get(id);
  if (line === undefined) throw new Error('no such line');
  return line;
}

/** Writes blocks of a line again. */
function replace(id: number, blocks: number): void {
  const { map } = lineOf(id);
  map.set(0, blocks, 8192);
  map.set(0, blocks, 20_000);
}

function look(pressure: number, isExempt: (line: Line) => boolean = () => false): void {
  throttle.look(pressure, isExempt);
}

/** Offers a write; whether it was held. */
function offer(id: number, offset: number, length = blockBytes): boolean {
  const request = new IoRequest(() => undefined);
  request.kind = IoKind.write;
  request.offset = offset;
  request.length = length;
  return throttle.holds(request, lineOf(id));
}

describe('throttle', () => {
  it('lets everything pass below the soft limit', () => {
    look(0);
    for (let index = 0; index < 1000; index += 1) expect(offer(1, index)).toBe(false);
    expect(throttle.isOn).toBe(false);
    expect(throttle.lanes()).toEqual([]);
  });

  it('lets a volume that replaces everything write 40 MiB/s half-way to the hard limit, and others ten times as much', async () => {
    look(0);
    replace(1, 1000);
    look(0.5);
    expect(throttle.lanes()).toEqual([]);
    offer(1, 0);
    offer(2, 0);
    const rates = throttle.lanes().map(({ line, bytesPerSecond }) => [line, bytesPerSecond]);
    expect(rates).toEqual([
      [1, 40_960_000],
      [2, 409_600_000],
    ]);
    let passed = 0;
    for (let block = 0; block < 1000; block += 1) if (!offer(1, block)) passed += 1;
    // What is due within a millisecond goes on; the rest is due a tenth of a millisecond after the one before.
    expect(passed).toBeGreaterThanOrEqual(9);
    expect(passed).toBeLessThanOrEqual(10);
    await time.pass(50);
    expect(released.length).toBeGreaterThan(480);
    expect(released.length).toBeLessThan(520);
    await time.pass(60);
    expect(released.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 1000 - passed }, (_, index) => index + passed),
    );
    expect(throttle.heldCount).toBe(1000 - passed);
  });

  it('follows (u - soft) / (hard - u), up to a slowest pace', () => {
    look(0);
    replace(1, 100);
    const paces: number[] = [];
    for (const pressure of [0.1, 0.5, 0.75, 0.9, 0.99, 1]) {
      look(pressure);
      offer(1, 0);
      paces.push((blockBytes * 1000) / (throttle.lanes()[0]?.bytesPerSecond ?? 0));
    }
    const wanted = [0.1 / 9, 0.1, 0.3, 0.9, 2, 2];
    paces.forEach((pace, index) => {
      expect(pace).toBeCloseTo(wanted[index] ?? 0, 4);
    });
  });

  it('keeps no write waiting longer than 4 s, and no more than a quarter of staging', async () => {
    look(0);
    replace(1, 100);
    look(1);
    const length = 2 ** 20;
    let held = 0;
    for (let index = 0; index < 10; index += 1) if (offer(1, index, length)) held += 1;
    // The first goes on; of those behind it 4 MiB wait, and the oldest make room for the newest.
    expect(held).toBe(9);
    expect(released).toHaveLength(5);
    expect(released.every(({ atMs }) => atMs === 0)).toBe(true);
    await time.pass(limits.throttleWaitMsMax);
    expect(released.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('does not let one volume wait for another, or one that is exempt', async () => {
    look(0);
    replace(1, 5000);
    replace(2, 1);
    look(0.9);
    for (let block = 0; block < 100; block += 1) offer(1, block);
    expect(offer(2, 0)).toBe(false);
    look(0.9, (line) => line.id === 1);
    expect(released.length).toBeGreaterThan(90);
    expect(offer(1, 100)).toBe(false);
    await time.pass(1);
  });

  it('gives everything back when space is there again, when a line is gone and when it stops', () => {
    look(0);
    replace(1, 100);
    replace(2, 100);
    look(0.9);
    const fill = (id: number): void => {
      for (let block = 0; block < 50; block += 1) offer(id, block);
    };
    fill(1);
    const before = released.length;
    look(0);
    expect(released.length).toBeGreaterThan(before + 40);
    look(0.9);
    fill(2);
    lineById.delete(2);
    const beforeGone = released.length;
    look(0.9);
    expect(released.length).toBeGreaterThan(beforeGone + 40);
    fill(1);
    const beforeStop = released.length;
    throttle.stop();
    expect(released.length).toBeGreaterThan(beforeStop + 40);
    expect(offer(1, 0)).toBe(false);
  });
});
