/** Which moments stay readable because somebody uses them, or asked for them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MomentMaps, type OpenMoment } from '../../../../src/volume/core/moment-maps.ts';
import { LeafChanges } from '../../../../src/volume/index/leaf-changes.ts';
import { limits } from '../../../../src/volume/limits.ts';
import { LeafStore } from '../../../../src/volume/map/leaf-store.ts';
import { quietLog } from '../../../support/inline-host.ts';
import { VirtualTime } from '../../../support/virtual-time.ts';

const past = { line: 1, cut: 1000, sizeBytes: 4096 };
let time: VirtualTime;
let moments: MomentMaps;

beforeEach(() => {
  time = new VirtualTime();
  const parts = {
    host: { clock: time, log: quietLog },
    lineById: new Map(),
    leaves: new LeafStore(),
    settings: { mapBytes: 2 ** 20 },
  };
  const source = {
    load: () => new Float64Array(512),
    loadLater: (_leaf: number, done: (values: Float64Array) => void) => {
      done(new Float64Array(512));
    },
    isEmpty: () => true,
  };
  moments = new MomentMaps(parts, {
    source: () => source,
    changes: () => new LeafChanges([], [], function* nothing() {}),
  });
});

function opened(how: 'open' | 'look'): OpenMoment {
  let found: OpenMoment | undefined;
  moments[how](past, (open) => {
    found = open;
  });
  if (found === undefined) throw new Error('not opened');
  return found;
}

describe('MomentMaps', () => {
  it('holds a moment while it is open', () => {
    const [first, second] = [opened('open'), opened('open')];
    first.release();
    first.release();
    expect(moments.leases()).toEqual([past]);
    expect(moments.isLeased(past)).toBe(true);
    second.release();
    expect(moments.leases()).toEqual([]);
    expect(moments.isLeased(past)).toBe(false);
  });

  it('holds all moments of somebody who looks at many, until they are given back or it takes too long', async () => {
    const other = { line: 2, cut: 500, sizeBytes: 4096 };
    const first = moments.leaseAll([past, other]);
    const second = moments.leaseAll([other]);
    expect(moments.leases()).toEqual([past, other, other]);
    first.release();
    first.release();
    expect(moments.leases()).toEqual([other]);
    expect(second.isOver()).toBe(false);
    await time.pass(limits.momentLeaseMs);
    expect(second.isOver()).toBe(true);
    expect(moments.leases()).toEqual([]);
  });

  it('counts as held what was given back since somebody watches', () => {
    opened('open').release();
    moments.watchLeases();
    opened('open').release();
    expect(moments.leases()).toEqual([past]);
    expect(moments.leases()).toEqual([]);
  });

  it('holds nothing for who only looks at addresses: those may be given up by then', () => {
    moments.watchLeases();
    const looking = opened('look');
    expect(moments.isLeased(past)).toBe(false);
    const held = opened('open');
    held.release();
    expect(moments.isLeased(past)).toBe(false);
    looking.release();
    expect(moments.leases()).toEqual([past]);
    moments.watchLeases();
    opened('look').release();
    expect(moments.leases()).toEqual([]);
  });

  it('keeps maps for later, but none that was only looked at', () => {
    const [first, second] = [opened('look'), opened('look')];
    first.release();
    expect(moments.kept().length).toBe(1);
    second.release();
    expect(moments.kept().length).toBe(0);
    expect(second.map.isReleased).toBe(true);
    const passing = opened('look');
    const held = opened('open');
    held.release();
    passing.release();
    expect(moments.kept().length).toBe(1);
    opened('look').release();
    expect(moments.kept().length).toBe(1);
    expect(held.map.isReleased).toBe(false);
  });

  it('keeps what was asked for readable for a while', async () => {
    moments.lease(past);
    await time.pass(limits.momentLeaseMs - 1);
    expect(moments.leases()).toEqual([past]);
    expect(moments.isLeased(past)).toBe(true);
    await time.pass(1);
    expect(moments.isLeased(past)).toBe(false);
    expect(moments.leases()).toEqual([]);
  });
});
