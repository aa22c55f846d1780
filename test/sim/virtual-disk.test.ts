/** The virtual disk itself: what it keeps, loses and damages is what the simulation's verdicts rest on. */
import { describe, expect, it } from 'vitest';
import type { DiskFile } from '../../src/base/ports.ts';
import { SeededRandom } from './random.ts';
import { Scheduler } from './scheduler.ts';
import { FaultSupervisor, PointSupervisor, QuietSupervisor } from './supervisors.ts';
import { type DiskFault, SimulatedCrash, VirtualDisk } from './virtual-disk.ts';
import { LossStyle } from './virtual-file.ts';
import { VirtualImage } from './virtual-image.ts';

const pageBytes = 4096;

function quietDisk(image = new VirtualImage()): VirtualDisk {
  const random = new SeededRandom(1);
  return new VirtualDisk(image, new QuietSupervisor(random, new Scheduler(random)));
}

function faultyDisk(fault: (kind: string) => DiskFault | undefined): VirtualDisk {
  const random = new SeededRandom(1);
  const scheduler = new Scheduler(random);
  const supervisor = new FaultSupervisor(random, scheduler, (call) => fault(call.kind));
  return new VirtualDisk(new VirtualImage(), supervisor);
}

function page(value: number, pages = 1): Uint8Array {
  return new Uint8Array(pages * pageBytes).fill(value);
}

function readAll(file: DiskFile): Uint8Array {
  const bytes = new Uint8Array(file.size());
  file.read(bytes, 0);
  return bytes;
}

/** What a new process finds in `path` after the machine was lost. */
function afterLoss(image: VirtualImage, path: string, style: LossStyle, seed = 7): Uint8Array {
  const lost = image.copy();
  lost.lose(new SeededRandom(seed), style);
  return readAll(quietDisk(lost).open(path, { create: false }));
}

describe('virtual disk', () => {
  it('keeps everything when only the process dies', () => {
    const disk = quietDisk();
    disk.open('f', { create: true }).write([page(1), page(2)], 0);
    disk.kill();
    const bytes = readAll(quietDisk(disk.image).open('f', { create: false }));
    expect(bytes).toEqual(new Uint8Array([...page(1), ...page(2)]));
  });

  it('lets a dead process do nothing', () => {
    const disk = quietDisk();
    const file = disk.open('f', { create: true });
    disk.kill();
    expect(() => {
      file.write([page(1)], 0);
    }).toThrow(SimulatedCrash);
    expect(disk.image.file('f')?.sizeBytes).toBe(0);
  });

  it('keeps flushed data under a flushed name through every loss', () => {
    const disk = quietDisk();
    const file = disk.open('f', { create: true });
    file.write([page(1, 3)], 0);
    file.flush();
    disk.flushFolder('');
    file.write([page(2)], pageBytes);
    for (const style of Object.values(LossStyle)) {
      for (let seed = 0; seed < 20; seed += 1) {
        const bytes = afterLoss(disk.image, 'f', style, seed);
        expect(bytes.subarray(0, pageBytes)).toEqual(page(1));
        expect(bytes.subarray(2 * pageBytes)).toEqual(page(1));
      }
    }
  });

  it('tears unflushed data at 512 bytes and nowhere else', () => {
    const disk = quietDisk();
    const file = disk.open('f', { create: true });
    file.write([page(1)], 0);
    file.flush();
    disk.flushFolder('');
    file.write([page(2)], 0);
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed += 1) {
      const bytes = afterLoss(disk.image, 'f', LossStyle.sectors, seed);
      const sectors = Array.from({ length: 8 }, (_, at) =>
        bytes.subarray(at * 512, at * 512 + 512),
      );
      for (const sector of sectors) expect(new Set(sector).size).toBe(1);
      seen.add(sectors.map((sector) => String(sector[0])).join(''));
    }
    expect(seen.size).toBeGreaterThan(20);
    expect(afterLoss(disk.image, 'f', LossStyle.none)).toEqual(page(1));
    expect(afterLoss(disk.image, 'f', LossStyle.all)).toEqual(page(2));
  });

  it('may lose a name, or bring an old one back, until its folder is flushed', () => {
    const disk = quietDisk();
    disk.makeFolder('d');
    disk.flushFolder('');
    disk.open('d/a', { create: true });
    disk.flushFolder('d');
    disk.rename('d/a', 'd/b');
    disk.open('d/c', { create: true });
    const seen = new Set<string>();
    for (let seed = 0; seed < 30; seed += 1) {
      const lost = disk.image.copy();
      lost.lose(new SeededRandom(seed), LossStyle.pages);
      seen.add(lost.list('d').join());
    }
    expect(seen).toEqual(new Set(['a', 'a,c', 'b', 'b,c']));
    disk.flushFolder('d');
    disk.image.lose(new SeededRandom(1), LossStyle.none);
    expect(disk.list('d')).toEqual(['b', 'c']);
  });

  it('marks pages clean after a failed flush, so that the next flush saves nothing', () => {
    let isFailing = true;
    const disk = faultyDisk((kind) =>
      kind === 'flush' && isFailing ? { kind: 'error', code: 'EIO' } : undefined,
    );
    const file = disk.open('f', { create: true });
    disk.flushFolder('');
    file.write([page(1, 64)], 0);
    expect(() => {
      file.flush();
    }).toThrow('EIO');
    isFailing = false;
    file.flush();
    const bytes = afterLoss(disk.image, 'f', LossStyle.all);
    expect(bytes.some((byte) => byte === 0)).toBe(true);
    expect(bytes.some((byte) => byte === 1)).toBe(true);
  });

  it('forgets what a lying flush was given', () => {
    const disk = faultyDisk((kind) => (kind === 'flush' ? { kind: 'lost' } : undefined));
    const file = disk.open('f', { create: true });
    disk.flushFolder('');
    file.write([page(1)], 0);
    file.flush();
    expect(readAll(file)).toEqual(page(1));
    expect(afterLoss(disk.image, 'f', LossStyle.all)).toEqual(new Uint8Array(0));
  });

  it('gives old, foreign and flipped bytes when a read is faulty', () => {
    let fault: DiskFault | undefined;
    const disk = faultyDisk((kind) => (kind === 'read' ? fault : undefined));
    const file = disk.open('f', { create: true });
    file.write([page(1), page(9)], 0);
    file.write([page(2)], 0);
    const target = new Uint8Array(pageBytes);
    const read = (next: DiskFault | undefined): Uint8Array => {
      fault = next;
      file.read(target, 0);
      return target;
    };
    expect(read(undefined)).toEqual(page(2));
    expect(read({ kind: 'stale' })).toEqual(page(1));
    expect(read({ kind: 'misdirected', pages: 1 })).toEqual(page(9));
    expect(read({ kind: 'flipped', bit: 8 })[1]).toBe(3);
  });

  it('refuses writes when the space is used up', () => {
    const disk = quietDisk();
    disk.image.capacityBytes = 4 * pageBytes;
    const file = disk.open('f', { create: true });
    file.write([page(1, 4)], 0);
    expect(() => {
      file.write([page(1)], 4 * pageBytes);
    }).toThrow('no space');
    file.write([page(2)], 0);
    expect(disk.freeBytes()).toBe(0);
  });

  it('offers a crash point before every change and inside every long write', () => {
    const random = new SeededRandom(1);
    const points: string[] = [];
    const sizes: number[] = [];
    const image = new VirtualImage();
    const supervisor = new PointSupervisor(random, new Scheduler(random), (what) => {
      points.push(what);
      sizes.push(image.copy().file('f')?.sizeBytes ?? -1);
    });
    const disk = new VirtualDisk(image, supervisor);
    const file = disk.open('f', { create: true });
    file.write([page(1, 4)], 0);
    file.read(page(0), 0);
    file.flush();
    expect(points).toEqual([
      'before call 1: create f',
      'before call 2: write f [0, +16384)',
      'in the middle of call 2: write f [0, +16384)',
      'before call 4: flush f',
    ]);
    expect(sizes).toEqual([-1, 0, 8192, 16384]);
  });
});
