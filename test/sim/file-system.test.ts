/**
 * A file system that others use, too: what it does not have is told, refused and given up in time, and all is as before when it
 * comes back, without a command. (Crashes in it: the runs of full pools.)
 */
import { describe, expect, it } from 'vitest';
import type { Outcome } from '../../src/base/errors.ts';
import { IoKind, IoRequest, IoStatus } from '../../src/device/block-device.ts';
import { Provisioning } from '../../src/volume/catalogue/records.ts';
import type { SpaceReport } from '../../src/volume/core/space.ts';
import { limits } from '../../src/volume/limits.ts';
import type { ReliefStep } from '../../src/volume/reports.ts';
import { Machine } from './machine.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

const blockBytes = 4096;
const segmentBytes = 64 * blockBytes;
const volumeBytes = 512 * blockBytes;
const eventsMax = 100_000;
const capacityBytes = 200 * segmentBytes;
const windowMs = 600_000;
/** Until what is short below counts, and the pool has looked. */
const settledMs = limits.fileSystemSettleMs + 2 * limits.freeSpaceCheckMs;

class World {
  readonly machine = new Machine();
  readonly process: StoreProcess;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    this.process = new StoreProcess({
      machine: this.machine,
      random,
      capacityBytes,
      cleaner: 'off',
    });
    this.process.open();
  }

  ask<T>(what: string, operation: (done: (outcome: Outcome<T>) => void) => void): Outcome<T> {
    let answer: Outcome<T> | undefined;
    operation((outcome) => {
      answer = outcome;
    });
    this.process.runUntil(() => answer !== undefined, eventsMax, what);
    if (answer === undefined) throw new Error(what);
    return answer;
  }

  create(name: string, provisioning: Provisioning, sizeBytes = volumeBytes): boolean {
    return this.ask('a volume', (done) => {
      this.process.pool.volumeCreate({ name, sizeBytes, provisioning }, done);
    }).ok;
  }

  write(name: string, block: number, blocks: number): IoStatus {
    const answer: { status?: IoStatus } = {};
    const request = new IoRequest(() => {
      answer.status = request.status;
    });
    const offset = block * blockBytes;
    const payload = this.process.allocate(offset, blocks * blockBytes);
    payload?.fill(0, new Uint8Array(blocks * blockBytes).fill(block + 1), 0, blocks * blockBytes);
    Object.assign(request, { kind: IoKind.write, offset, length: blocks * blockBytes, payload });
    this.process.openVolume(name).submit(request);
    this.process.runUntil(() => answer.status !== undefined, eventsMax, 'a write');
    return answer.status ?? IoStatus.ioError;
  }

  /** Writes volume "v" three times over. */
  fill(): void {
    for (let block = 0; block < 3 * 512; block += 16) {
      expect(this.write('v', block % 512, 16)).toBe(IoStatus.ok);
    }
  }

  /** Others leave the file system so much, and time passes. */
  free(segments: number, passMs = settledMs): void {
    const { image } = this.machine;
    image.capacityBytes = image.usedBytes() + segments * segmentBytes;
    this.process.passTime(passMs);
  }

  isOn(step: ReliefStep): boolean {
    const last = this.process.pool.space().relief.findLast((event) => event.step === step);
    return last !== undefined && last.endedMs === undefined;
  }
}

describe('a file system with less than the capacity', () => {
  it('counts instead of it, before it is full, and no longer when there is space again', () => {
    const world = new World(1);
    world.create('v', Provisioning.thin);
    world.fill();
    const report = (): SpaceReport => world.process.pool.space();
    expect(report()).toMatchObject({ capacityBytes, effectiveCapacityBytes: capacityBytes });
    expect(world.isOn('file-system')).toBe(false);

    world.free(7);
    const short = report();
    expect(short.effectiveCapacityBytes).toBeLessThan(short.usedBytes + 7 * segmentBytes);
    expect(short.fileSystemFreeBytes).toBeGreaterThan(4 * segmentBytes);
    expect(short.usedBytes).toBeGreaterThan(short.softLimitBytes);
    expect(['file-system', 'throttle'].map((step) => world.isOn(step as ReliefStep))).toEqual([
      true,
      true,
    ]);
    let written = 0;
    while (world.write('v', written % 512, 16) === IoStatus.ok) written += 16;
    expect(report().fullReason).toContain('the file system has only');
    expect(world.process.failure).toBeUndefined();

    world.free(300, 2 * limits.freeSpaceCheckMs);
    expect(report()).toMatchObject({ effectiveCapacityBytes: capacityBytes });
    expect(report().fullReason).toBeUndefined();
    expect(world.isOn('file-system')).toBe(false);
    expect(world.write('v', 0, 16)).toBe(IoStatus.ok);
    world.process.close();
  });

  it('is told when thick volumes were promised more than it has, and refuses another', () => {
    const world = new World(2);
    const promised = 80 * segmentBytes;
    expect(world.create('thick', Provisioning.thick, promised)).toBe(true);
    expect(world.process.pool.space().uncoveredBytes).toBe(0);
    world.free(40);
    const { uncoveredBytes, reservedBytes } = world.process.pool.space();
    expect(reservedBytes).toBe((promised * 9) / 8);
    expect(uncoveredBytes).toBeGreaterThan(30 * segmentBytes);
    expect(world.isOn('reserves')).toBe(true);
    expect(world.create('another', Provisioning.thick, segmentBytes)).toBe(false);
    // What is there is the thick volume's.
    world.create('thin', Provisioning.thin);
    expect(world.write('thin', 0, 16)).toBe(IoStatus.noSpace);
    for (let block = 0; block < 512; block += 16) {
      expect(world.write('thick', block, 16)).toBe(IoStatus.ok);
    }
    world.free(300);
    expect(world.isOn('reserves')).toBe(false);
    expect(world.process.pool.space().uncoveredBytes).toBe(0);
    expect(world.create('another', Provisioning.thick, segmentBytes)).toBe(true);
    world.process.close();
  });

  it('costs history only when it lasts', () => {
    const world = new World(3);
    world.create('v', Provisioning.thin);
    const policy = { windowMs, windowBytes: undefined, tiers: [] };
    world.ask('a policy', (done) => {
      world.process.pool.retention.setPolicy({ volume: 'v', policy }, done);
    });
    world.fill();
    world.process.passTime(2 * limits.fileSystemSteadyMs);
    world.free(6);
    expect(world.isOn('throttle')).toBe(true);
    world.process.passTime(limits.fileSystemSteadyMs / 2);
    expect(world.isOn('windows')).toBe(false);
    world.free(300);
    expect(world.isOn('throttle')).toBe(false);
    world.free(6, 3 * limits.fileSystemSteadyMs);
    expect(world.isOn('windows')).toBe(true);
    world.process.close();
  });
});
