/** Windows, horizons and automatic pins over days of virtual time. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formatMomentTime } from '../../../../src/base/moment.ts';
import type { HorizonState } from '../../../../src/volume/catalogue/kept-moments.ts';
import { HorizonReason } from '../../../../src/volume/catalogue/retention-records.ts';
import { containing } from '../../../support/matching.ts';
import { ask, close, isSound } from '../pool-world.ts';
import { KeptWorld } from './kept-world.ts';

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

let world: KeptWorld;

beforeEach(async () => {
  world = new KeptWorld();
  await world.open();
});

afterEach(() => {
  world.remove();
});

/** Writes a new number every `everyMs`, from 1 on; answers when each was written. */
async function writing(name: string, everyMs: number, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let value = 1; value <= count; value += 1) {
    await world.write(name, value % 251);
    times.push(world.wallMs);
    await world.pass(everyMs);
  }
  return times;
}

/** Three hours of changes, then the clock is wrong for two of them. */
async function jumped(): Promise<number[]> {
  await world.create('a', 'all:2h,1m:1d');
  const times = await writing('a', 5 * minute, 36);
  world.wallOffsetMs = 30 * day;
  await world.pass(minute);
  await world.write('a', 99);
  await world.pass(minute);
  return times;
}

/** Times at which minutes, hours ... end. */
function endsOf(everyMs: number, fromMs: number, toMs: number): number[] {
  const ends: number[] = [];
  for (let at = Math.ceil(fromMs / everyMs) * everyMs; at < toMs; at += everyMs) ends.push(at);
  return ends;
}

describe('a window', () => {
  it('keeps every moment of its length, and refuses older ones with those that are kept beside them', async () => {
    await world.create('a', 'all:1h');
    const times = await writing('a', 5 * minute, 30);
    const volume = world.pool.volume('a');
    expect(volume.pins.length).toBe(0);
    expect(volume.horizon?.reason).toBe(HorizonReason.age);
    const ageMs = world.wallMs - (volume.horizon?.timeMs ?? 0);
    expect(ageMs).toBeGreaterThanOrEqual(hour);
    expect(ageMs).toBeLessThan(hour + 10 * minute);
    for (const [index, timeMs] of times.entries()) {
      const at = formatMomentTime(timeMs);
      if (timeMs >= world.wallMs - hour) expect(await world.valueAt('a', at)).toBe(index + 1);
      if (timeMs >= world.wallMs - hour - 10 * minute) continue;
      const opening = world.valueAt('a', at);
      await expect(opening).rejects.toMatchObject({ code: 'not-found' });
      await expect(opening).rejects.toThrow(`a at ${at} is not kept any more`);
      const hint = `${formatMomentTime(volume.horizon?.timeMs ?? 0)} behind it`;
      await expect(opening).rejects.toMatchObject({ hint: containing(hint) });
    }
  });

  it('of 0 keeps the present and snapshots, and nothing else', async () => {
    await world.create('a', 'all:0');
    await world.write('a', 1);
    await ask((done) => {
      world.pool.snapshotCreate([{ volume: 'a', name: 's' }], done);
    });
    const between = formatMomentTime(world.wallMs);
    await writing('a', minute, 5);
    expect(await world.valueAt('a', 'now')).toBe(5);
    expect(await world.valueAt('a', 'snapshot:s')).toBe(1);
    await expect(world.valueAt('a', between)).rejects.toThrow('not kept any more');
  });

  it('moves at once when space is short, and not again while nothing is written', async () => {
    await world.create('a', 'all:0');
    await writing('a', 100, 5);
    const urge = async (): Promise<HorizonState | undefined> => {
      world.pool.retention.moveWindows();
      await world.pass(1000);
      return world.pool.volume('a').horizon;
    };
    expect(world.pool.volume('a').horizon).toBeUndefined();
    await urge();
    const moved = await urge();
    expect(moved?.timeMs).toBeGreaterThan(world.wallMs - 3000);
    expect(await urge()).toEqual(moved);
    expect(await urge()).toEqual(moved);
    await world.write('a', 7);
    await urge();
    expect((await urge())?.position).toBeGreaterThan(moved?.position ?? 0);
    expect(await world.valueAt('a', 'now')).toBe(7);
  });

  it('of a budget of bytes keeps what was written last', async () => {
    await world.create('a', 'all:unlimited/40K');
    await writing('a', minute, 40);
    const { horizon } = world.pool.volume('a');
    expect(horizon?.reason).toBe(HorizonReason.budget);
    // Ten blocks: the past ten minutes.
    expect(await world.valueAt('a', '-9m')).toBe(32);
    await expect(world.valueAt('a', '-14m')).rejects.toThrow('not kept any more');
  });

  it.each(['killed', 'closed'])(
    'of a budget of bytes counts what was written before the pool was %s',
    async (how) => {
      world.nowMs += 0.36;
      await world.create('a', 'all:unlimited/400K');
      await world.create('late', 'all:unlimited');
      for (const count of [30, 50]) {
        await writing('a', minute, count);
        expect(world.pool.volume('a').horizon).toBeUndefined();
        if (how === 'closed') await close(world.pool);
        await world.open();
      }
      await writing('a', minute, 60);
      // What was written before is read from the disk: how long that takes is for the machine to say.
      await vi.waitUntil(async () => {
        await world.pass(0);
        return world.pool.volume('a').horizon !== undefined;
      });
      // A hundred blocks: the past hundred minutes, of which forty are of the second time that it was open.
      const { horizon } = world.pool.volume('a');
      expect(horizon?.reason).toBe(HorizonReason.budget);
      expect(Number.isInteger(horizon?.timeMs)).toBe(true);
      expect(await world.valueAt('a', '-59m')).toBe(2);
      expect(await world.valueAt('a', '-98m')).toBe(13);
      await expect(world.valueAt('a', '-104m')).rejects.toThrow('not kept any more');

      // One that has a budget from now on.
      await writing('late', minute, 20);
      await world.setPolicy('late', 'all:unlimited/40K');
      await world.pass(minute);
      await expect
        .poll(async () => {
          await world.pass(1);
          return world.pool.volume('late').horizon?.reason;
        })
        .toBe(HorizonReason.budget);
      const age = world.wallMs - (world.pool.volume('late').horizon?.timeMs ?? 0);
      expect(age).toBeGreaterThan(9 * minute);
      expect(age).toBeLessThan(13 * minute);
    },
  );

  it('that is endless keeps everything, and one that is made longer gets nothing back', async () => {
    await world.create('a', 'all:unlimited');
    await writing('a', hour, 30);
    expect(world.pool.volume('a').horizon).toBeUndefined();
    await world.setPolicy('a', 'all:2h');
    await world.pass(minute);
    const { horizon } = world.pool.volume('a');
    expect(horizon).toBeDefined();
    await world.setPolicy('a', 'all:1w');
    await world.pass(minute);
    expect(world.pool.volume('a').horizon).toEqual(horizon);
    await expect(world.valueAt('a', '-20h')).rejects.toThrow('not kept any more');
  });

  it('is shortened on demand, and grows again', async () => {
    await world.create('a', 'all:10h');
    await writing('a', 10 * minute, 30);
    expect(world.pool.volume('a').horizon).toBeUndefined();
    const moved = await ask((done) => {
      const options = { volume: 'a', keepMs: hour, reason: HorizonReason.poolFull };
      world.pool.retention.advanceHorizon(options, done);
    });
    expect(moved).toMatchObject({ reason: HorizonReason.poolFull });
    await expect(world.valueAt('a', '-2h')).rejects.toThrow('not kept any more');
    const again = await ask((done) => {
      const options = { volume: 'a', keepMs: 5 * hour, reason: HorizonReason.poolFull };
      world.pool.retention.advanceHorizon(options, done);
    });
    expect(again).toEqual(moved);
  });

  it('that is guaranteed is not shortened, nor are its pins taken, after a restart either, until that is taken back', async () => {
    await world.create('a', 'all:1h,10m:10h');
    const guarantee = async (isGuaranteed: boolean): Promise<void> => {
      await ask((done) => {
        world.pool.retention.setPolicy({ volume: 'a', isGuaranteed }, done);
      });
    };
    const shorten = async (): Promise<[HorizonReason | undefined, number]> => {
      const moved = await ask<HorizonState | undefined>((done) => {
        const options = { volume: 'a', keepMs: minute, reason: HorizonReason.poolFull };
        world.pool.retention.advanceHorizon(options, done);
      });
      const pinCount = await ask<number>((done) => {
        world.pool.retention.expirePins({ volume: 'a', keepMs: hour }, done);
      });
      return [moved?.reason, pinCount];
    };
    await guarantee(true);
    await writing('a', 10 * minute, 30);
    const pins = [...world.pool.volume('a').pins];
    expect(pins.length).toBeGreaterThan(20);
    expect(await shorten()).toEqual([HorizonReason.age, 0]);
    await world.open();
    expect(world.pool.volume('a').isGuaranteed).toBe(true);
    expect([...world.pool.volume('a').pins]).toEqual(pins);
    expect(world.pool.retention.untouched().map(({ name }) => name)).toEqual(['a']);
    expect(await shorten()).toEqual([HorizonReason.age, 0]);
    expect(await isSound(world.pool)).toBe(true);
    await guarantee(false);
    expect(world.pool.retention.untouched()).toEqual([]);
    await world.pass(10 * minute);
    const [reason, pinCount] = await shorten();
    expect(reason).toBe(HorizonReason.poolFull);
    expect(pinCount).toBeGreaterThan(10);
  });
});

describe('automatic pins', () => {
  it('are made of the past with the first policy that has tiers, before anything is given up', async () => {
    await world.create('a', 'all:unlimited');
    const times = await writing('a', 7 * minute, 200);
    const setMs = world.wallMs;
    await world.setPolicy('a', 'all:1h,10m:6h,1h:2d');
    const made = [...world.pool.volume('a').pins];
    await world.pass(minute);
    await world.open();
    const { pins, horizon } = world.pool.volume('a');
    expect(horizon?.timeMs).toBeGreaterThan(setMs - hour - 10 * minute);
    expect([...pins].filter(({ timeMs }) => timeMs <= setMs)).toEqual(made);
    expect(await isSound(world.pool)).toBe(true);
    const valueAtTime = (timeMs: number): number =>
      times.findLastIndex((each) => each <= timeMs) + 1;
    for (const { timeMs } of made) {
      expect(await world.valueAt('a', formatMomentTime(timeMs))).toBe(valueAtTime(timeMs));
    }
    const ends = [
      ...endsOf(10 * minute, setMs - 6 * hour, setMs - 7 * minute),
      ...endsOf(hour, setMs - 22 * hour, setMs - hour),
    ];
    expect(ends.length).toBeGreaterThan(50);
    for (const endMs of ends) {
      const before = made.findLast(({ timeMs }) => timeMs <= endMs);
      expect(before === undefined ? 0 : valueAtTime(before.timeMs)).toBe(valueAtTime(endMs));
    }
    expect(made.length).toBeLessThan(ends.length + 10);
  });

  it('of the past are of the line that the volume was in, and only of what is kept', async () => {
    await world.create('a', 'all:unlimited');
    await writing('a', 20 * minute, 20);
    const now = world.wallMs;
    await world.setPolicy('a', 'all:2h');
    await world.pass(minute);
    await ask((done) => {
      world.pool.volumeRollback({ name: 'a', to: formatMomentTime(now - 90 * minute) }, done);
    });
    await world.pass(20 * minute);
    await writing('a', 20 * minute, 2);
    const { horizon } = world.pool.volume('a');
    await world.setPolicy('a', 'all:0,10m:1d');
    const pins = [...world.pool.volume('a').pins];
    expect(pins.length).toBeGreaterThan(4);
    const values: (number | undefined)[] = [];
    for (const { cut, timeMs } of pins) {
      expect(cut).toBeGreaterThanOrEqual(horizon?.position ?? 0);
      values.push(await world.valueAt('a', formatMomentTime(timeMs)));
    }
    // 20 is what it was rolled back from, 16 what to, 2 what it is now.
    expect(values).toEqual([18, 19, 20, 16, 1, 2]);
    await world.open();
    expect([...world.pool.volume('a').pins]).toEqual(pins);
    expect(await isSound(world.pool)).toBe(true);
  });

  it('are one a tier, hold what the volume held, and survive a restart', async () => {
    await world.create('a', 'all:30m,10m:6h,1h:2d,1d:10d');
    const valueByTime = new Map<number, number>();
    const writes = 4 * 24 * 6;
    for (let index = 0; index < writes; index += 1) {
      await world.write('a', (index % 250) + 1);
      const known = world.pool.volume('a').pins.length;
      await world.pass(10 * minute);
      const { pins } = world.pool.volume('a');
      const last = pins.last();
      expect(pins.length).toBeLessThan(known + 2);
      if (last !== undefined) valueByTime.set(last.timeMs, (index % 250) + 1);
    }
    const check = async (): Promise<void> => {
      const { pins } = world.pool.volume('a');
      const ages = [...pins].map(({ timeMs }) => world.wallMs - timeMs);
      const count = (from: number, to: number): number =>
        ages.filter((age) => age > from && age <= to).length;
      expect(count(0, 6 * hour)).toBeGreaterThanOrEqual(35);
      expect(count(0, 6 * hour)).toBeLessThanOrEqual(37);
      expect(count(6 * hour, 2 * day)).toBeGreaterThanOrEqual(41);
      expect(count(6 * hour, 2 * day)).toBeLessThanOrEqual(43);
      expect(count(2 * day, 10 * day)).toBeGreaterThanOrEqual(2);
      expect(count(2 * day, 10 * day)).toBeLessThanOrEqual(3);
      for (const { timeMs } of [...pins].filter((_, index) => index % 7 === 0)) {
        expect(await world.valueAt('a', formatMomentTime(timeMs))).toBe(valueByTime.get(timeMs));
      }
    };
    await check();
    const text = world.pool.catalogueText();
    await world.open();
    await check();
    // Behind the EPOCH record everything is as it was.
    const [before, after] = [text, world.pool.catalogueText()].map((each) =>
      each.slice(0, each.indexOf('"epochs"')),
    );
    expect(after).toBe(before);
    expect(await isSound(world.pool)).toBe(true);
    const [first, second] = world.pool.volume('a').pins;
    const between = formatMomentTime(((first?.timeMs ?? 0) + (second?.timeMs ?? 0)) / 2);
    const beside = `${formatMomentTime(first?.timeMs ?? 0)} before it and ${formatMomentTime(second?.timeMs ?? 0)} behind it`;
    await expect(world.valueAt('a', between)).rejects.toMatchObject({
      hint: containing(beside),
    });
  });

  it('are of the time at which they are logged, not at which another operation let them wait', async () => {
    await world.create('a', 'all:0,1m:1h');
    await world.write('a', 1);
    world.pool.checkpoint();
    const passed = world.pass(minute);
    world.nowMs += 10_000;
    await world.write('a', 2);
    await passed;
    const [pin] = world.pool.volume('a').pins;
    expect(pin?.timeMs).toBe(world.nowMs);
    expect(await world.valueAt('a', formatMomentTime(pin?.timeMs ?? 0))).toBe(2);
  });

  it('can be made views, snapshots, and the end of a rollback', async () => {
    await world.create('a', 'all:0,1m:1h');
    await writing('a', minute, 10);
    const [, pin] = world.pool.volume('a').pins;
    const at = formatMomentTime(pin?.timeMs ?? 0);
    const value = await world.valueAt('a', at);
    await ask((done) => {
      world.pool.snapshotCreate([{ volume: 'a', name: 'was' }], done, at);
    });
    await ask((done) => {
      world.pool.viewCreate({ source: 'a', name: 'v', at, isClone: false }, done);
    });
    expect(world.pool.volume('v').policy).toEqual(world.pool.volume('a').policy);
    await ask((done) => {
      world.pool.volumeRollback({ name: 'a', to: at }, done);
    });
    expect(await world.valueAt('a', 'now')).toBe(value);
    // The pin's time is over; what was made of it is not.
    await world.pass(2 * hour);
    await world.pass(2 * hour);
    await expect(world.valueAt('a', at)).rejects.toThrow('not kept any more');
    expect(await world.valueAt('a', 'snapshot:was')).toBe(value);
    expect(await world.valueAt('v', 'now')).toBe(value);
  });

  it('are many in one record', async () => {
    for (let index = 0; index < 40; index += 1) await world.create(`v${index}`, 'all:1m,1m:1h');
    for (let index = 0; index < 40; index += 1) await world.write(`v${index}`, 1);
    const before = world.pool.durableThrough;
    await world.pass(minute);
    expect(world.pool.volumes().every(({ pins }) => pins.length === 1)).toBe(true);
    // One frame: its header block.
    expect(world.pool.durableThrough - before).toBe(1);
  });

  it('are not made of what did not change, and then nothing is logged at all', async () => {
    await world.create('a', 'all:1h,1m:1d');
    await writing('a', minute, 3);
    await world.pass(minute);
    for (let hours = 0; hours < 5; hours += 1) await world.pass(hour);
    const { durableThrough } = world.pool;
    for (let hours = 0; hours < 10; hours += 1) await world.pass(hour);
    expect(world.pool.durableThrough).toBe(durableThrough);
    expect(world.pool.volume('a').pins.length).toBe(3);
  });
});

describe('the clock', () => {
  it('may be set back: no horizon and no pin goes back', async () => {
    await world.create('a', 'all:30m,1m:2h');
    await writing('a', minute, 90);
    const before = world.pool.volume('a').horizon;
    world.wallOffsetMs = -3 * hour;
    await writing('a', minute, 30);
    const { horizon, pins } = world.pool.volume('a');
    expect(horizon?.position).toBeGreaterThanOrEqual(before?.position ?? 0);
    expect([...pins].every(({ timeMs }, index) => timeMs >= pins.timeAt(index - 1))).toBe(true);
    await world.open();
    await writing('a', minute, 200);
    expect(world.pool.volume('a').horizon?.position).toBeGreaterThan(horizon?.position ?? 0);
    expect(await isSound(world.pool)).toBe(true);
  });

  it('may jump ahead: history does not go at once', async () => {
    await world.create('a', 'all:2h,1m:1d');
    const times = await writing('a', 5 * minute, 12);
    const at = formatMomentTime(times[3] ?? 0);
    world.wallOffsetMs = 30 * day;
    await world.pass(minute);
    await world.write('a', 99);
    await world.pass(minute);
    expect(await world.valueAt('a', at)).toBe(4);
    await world.open();
    await world.pass(minute);
    expect(await world.valueAt('a', at)).toBe(4);
    // It is right after all: in days, not months, it is believed.
    for (let hours = 0; hours < 80; hours += 1) await world.pass(hour);
    await expect(world.valueAt('a', at)).rejects.toThrow('not kept any more');
  });
});

describe('a clock that jumped ahead', () => {
  it('takes no history with it when the pool is opened again, however often, killed or closed', async () => {
    const times = await jumped();
    const pins = [...world.pool.volume('a').pins];
    for (const isClosed of [false, true, false]) {
      if (isClosed) await close(world.pool);
      await world.open();
      await world.pass(minute);
      await world.write('a', 100);
      await world.pass(5 * minute);
    }
    world.wallOffsetMs = 0;
    await world.open();
    await world.pass(minute);
    expect(await world.valueAt('a', formatMomentTime(times[30] ?? 0))).toBe(31);
    expect([...world.pool.volume('a').pins].slice(0, pins.length)).toEqual(pins);
  });
});

describe('a moment that somebody asked for', () => {
  it('stays readable for a while when the horizon passes it', async () => {
    await world.create('a', 'all:5m');
    await writing('a', minute, 4);
    const page = await ask<{ from: { label: string } }>((done) => {
      const options = { volume: 'a', from: '-3m', to: 'now', offset: 0, extentsMax: 1 };
      world.pool.history.diff(options, done);
    });
    const { label } = page.from;
    const value = await world.valueAt('a', label);
    await writing('a', minute, 9);
    expect(world.pool.volume('a').horizon?.timeMs).toBeGreaterThan(Date.parse(label));
    expect(await world.valueAt('a', label)).toBe(value);
    // Nobody asks for it any more.
    await world.pass(11 * minute);
    await expect(world.valueAt('a', label)).rejects.toThrow('not kept any more');
  });
});
