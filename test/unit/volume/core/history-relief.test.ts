import { beforeEach, describe, expect, it } from 'vitest';
import { parseCdpPolicy } from '../../../../src/base/cdp-policy.ts';
import { success } from '../../../../src/base/errors.ts';
import type { VolumeState } from '../../../../src/volume/catalogue/catalogue.ts';
import { type HistoryKeeper, HistoryRelief } from '../../../../src/volume/core/history-relief.ts';
import { limits } from '../../../../src/volume/limits.ts';
import { VirtualTime } from '../../../support/virtual-time.ts';

const minute = 60_000;
const hour = 60 * minute;
const log = {
  info: (): void => undefined,
  warn: (): void => undefined,
  error: (): void => undefined,
};

let time: VirtualTime;
let told: string[];
/** How often windows were moved at once. */
let moved: number;
let relief: HistoryRelief;
let stored: number;

function volume(name: string, policy: string, isGuaranteed = false): VolumeState {
  const parsed = parseCdpPolicy(policy);
  if (parsed === undefined) throw new Error(policy);
  // Only these are looked at.
  return { name, policy: parsed, isGuaranteed } as VolumeState;
}

const keeper: HistoryKeeper = {
  moveWindows: () => {
    moved += 1;
  },
  advanceHorizon: ({ volume: name, keepMs }, done) => {
    told.push(`${name} window ${keepMs / minute}m`);
    done(success(undefined));
  },
  expirePins: ({ volume: name, keepMs }, done) => {
    told.push(`${name} pins ${keepMs / hour}h`);
    done(success(1));
  },
};

beforeEach(() => {
  time = new VirtualTime();
  told = [];
  moved = 0;
  stored = 100;
  const volumes = [
    volume('a', 'all:1h,1m:24h,1h:7d'),
    volume('kept', 'all:unlimited'),
    volume('promised', 'all:1h,1m:24h', true),
    volume('short', 'all:90s'),
    volume('none', 'all:0'),
  ];
  relief = new HistoryRelief({ clock: time, log, volumes: () => volumes }, keeper);
});

/** A look; what was told in it. */
async function step(pressure: number): Promise<string[]> {
  told = [];
  relief.look(pressure, stored);
  await time.pass(limits.reliefStepMs);
  return told;
}

describe('history relief', () => {
  it('gives up nothing near the soft limit, nor while what is stored falls', async () => {
    expect(await step(0.19)).toEqual([]);
    expect(await step(0.9)).toEqual([]);
    for (let index = 0; index < 5; index += 1) {
      stored -= 1;
      expect(await step(0.9)).toEqual([]);
    }
    expect(relief.areWindowsShort).toBe(false);
  });

  it('halves windows that are not guaranteed, then gives up the oldest tier of pins, one step in ten seconds', async () => {
    await step(0.9);
    expect(await step(0.9)).toEqual(['a window 30m', 'short window 1m', 'none window 0m']);
    relief.look(0.9, stored);
    told = [];
    relief.look(0.9, stored);
    expect(told).toEqual([]);
    await time.pass(limits.reliefStepMs);
    expect(await step(0.9)).toEqual(['a window 7.5m', 'short window 1m', 'none window 0m']);
    expect(relief.arePinsExpired).toBe(false);
    expect(await step(0.3)).toEqual(['a window 3.75m', 'short window 1m', 'none window 0m']);
    expect(await step(0.3)).toEqual(['a window 3.75m', 'short window 1m', 'none window 0m']);
    expect(await step(0.5)).toContain('a pins 24h');
    expect(await step(0.5)).toContain('a pins 1h');
    expect(await step(0.5)).toContain('a pins 1h');
    expect(relief.arePinsExpired).toBe(true);
  });

  it('gives up at once what lies behind windows, and each second while the pool is full', async () => {
    await step(0.19);
    expect(moved).toBe(0);
    await step(0.2);
    await step(0.99);
    expect(moved).toBe(1);
    relief.look(1, stored);
    relief.look(1, stored);
    expect(moved).toBe(3);
    await step(0);
    await step(0.2);
    expect(moved).toBe(4);
  });

  it('ends when the pool is well below where it began, and begins anew', async () => {
    await step(0.9);
    await step(0.9);
    expect(relief.areWindowsShort).toBe(true);
    await step(0.11);
    expect(relief.areWindowsShort).toBe(true);
    expect(await step(0.09)).toEqual([]);
    expect(relief.areWindowsShort).toBe(false);
    expect(await step(0.9)).toEqual([]);
    expect(await step(0.9)).toEqual(['a window 30m', 'short window 1m', 'none window 0m']);
  });
});
