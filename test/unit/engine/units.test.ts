import { beforeEach, describe, expect, it } from 'vitest';
import type { Log } from '../../../src/base/ports.ts';
import { uuidText } from '../../../src/base/uuid.ts';
import { type BlockDevice, IoStatus } from '../../../src/device/block-device.ts';
import { Units } from '../../../src/engine/units.ts';
import { ignoresIsidIn } from '../../../src/scsi/lu-state.ts';
import { NexusLun } from '../../../src/scsi/nexus.ts';
import { SenseCode } from '../../../src/scsi/sense.ts';
import { containing } from '../../support/matching.ts';
import { MemoryDevice } from '../../support/memory-device.ts';

/** Volumes whose devices are replaced when a test says so. */
class FakePool {
  readonly slab = new Uint8Array(1 << 20);
  readonly deviceByName = new Map<string, MemoryDevice>();
  usedBytes = 10;

  add(name: string, sizeBytes = 1 << 20): string {
    const device = new MemoryDevice({ name, sizeBytes, slab: this.slab });
    this.deviceByName.set(name, device);
    return uuidText(device.identity.uuid);
  }

  /** The volume shows other content, and perhaps another size. */
  replace(name: string, sizeBytes = 1 << 20): MemoryDevice {
    const identity = this.deviceByName.get(name)?.identity;
    if (identity === undefined) throw new Error(`no volume ${name}`);
    const device = new MemoryDevice({ name, sizeBytes, slab: this.slab, identity });
    this.deviceByName.set(name, device);
    return device;
  }

  volumeById(uuid: Uint8Array): { name: string } | undefined {
    return [...this.deviceByName.values()].find(
      ({ identity }) => uuidText(identity.uuid) === uuidText(uuid),
    );
  }

  volumeOpen(name: string): BlockDevice {
    const device = this.deviceByName.get(name);
    if (device === undefined) throw new Error(`no volume ${name}`);
    return device;
  }

  space(): { usedBytes: number; writeLimitBytes: number } {
    return { usedBytes: this.usedBytes, writeLimitBytes: 95 };
  }
}

let pool: FakePool;
let units: Units;
let lines: string[];
let volumeId: string;

beforeEach(() => {
  pool = new FakePool();
  lines = [];
  const note = (message: string, fields?: object): void => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  const log: Log = { info: note, warn: note, error: note };
  units = new Units(pool, log);
  volumeId = pool.add('v');
});

/** What a host that sees the unit is told next, in order. */
function watch(id: string): () => number[] {
  const unit = units.unitOf(id);
  if (unit === undefined) throw new Error('no unit');
  // Its nexus is not looked at.
  const place = new NexusLun({} as never, 0, unit, false);
  unit.attach(place);
  const all = (): number[] => {
    const codes: number[] = [];
    for (let code = place.attentions.take(); code !== undefined; code = place.attentions.take()) {
      codes.push(code);
    }
    return codes;
  };
  all();
  return all;
}

async function fail(): Promise<void> {
  await Promise.reject(new Error('no space'));
}

describe('the unit of a volume', () => {
  it('is one, whoever asks, and there is none for a volume that does not exist', () => {
    const unit = units.unitOf(volumeId);
    expect(unit?.device).toBe(pool.deviceByName.get('v'));
    expect(units.unitOf(volumeId)).toBe(unit);
    expect(units.unitOf(pool.add('w'))).not.toBe(unit);
    expect(units.unitOf('00000000-0000-4000-8000-00000000ffff')).toBeUndefined();
  });

  it('knows what space there is left to write', () => {
    const unit = units.unitOf(volumeId);
    expect(unit?.space()).toEqual({ usedBytes: 10, availableBytes: 85 });
    pool.usedBytes = 97;
    expect(unit?.space()).toEqual({ usedBytes: 97, availableBytes: 0 });
  });

  it('is closed when nobody sees the volume any more; who sees it later gets another', () => {
    const unit = units.unitOf(volumeId);
    units.keepOnly(new Set([volumeId]));
    expect(unit?.isClosed).toBe(false);
    units.keepOnly(new Set());
    expect(unit?.isClosed).toBe(true);
    expect(units.unitOf(volumeId)).not.toBe(unit);
  });
});

describe('a change of content', () => {
  it('happens while the unit is suspended, and is told with the size when that changed', async () => {
    const told = watch(volumeId);
    const unit = units.unitOf(volumeId);
    const seen = await units.whileSuspended(volumeId, async () => {
      pool.replace('v');
      return await Promise.resolve(unit?.isSuspended);
    });
    expect(seen).toBe(true);
    expect(unit?.isSuspended).toBe(false);
    expect(unit?.device).toBe(pool.deviceByName.get('v'));
    expect(told()).toEqual([SenseCode.inquiryDataChanged]);
    await units.whileSuspended(
      volumeId,
      async () => await Promise.resolve(pool.replace('v', 4096)),
    );
    expect(new Set(told())).toEqual(
      new Set<number>([SenseCode.inquiryDataChanged, SenseCode.capacityChanged]),
    );
  });

  it('that fails leaves the unit as it was, and tells nobody', async () => {
    const told = watch(volumeId);
    const unit = units.unitOf(volumeId);
    const device = unit?.device;
    await expect(units.whileSuspended(volumeId, fail)).rejects.toThrow('no space');
    expect([unit?.isSuspended, unit?.device === device, told()]).toEqual([false, true, []]);
  });

  it('of a volume that nobody sees just happens', async () => {
    expect(await units.whileSuspended(volumeId, async () => await Promise.resolve(5))).toBe(5);
  });

  it('that removes the volume leaves nothing to show', async () => {
    const unit = units.unitOf(volumeId);
    await units.whileSuspended(volumeId, async () => {
      pool.deviceByName.delete('v');
      await Promise.resolve();
    });
    units.keepOnly(new Set());
    expect(unit?.isClosed).toBe(true);
    expect(units.unitOf(volumeId)).toBeUndefined();
  });
});

it('hosts are told of sizes, caches and space', () => {
  const told = watch(volumeId);
  units.resized(volumeId);
  units.ackChanged(volumeId);
  units.spaceLow();
  expect(new Set(told())).toEqual(
    new Set<number>([
      SenseCode.capacityChanged,
      SenseCode.modeParametersChanged,
      SenseCode.softThresholdReached,
    ]),
  );
});

it('a unit that is made while space is short says so, too, until there is space again', () => {
  units.spaceLow();
  const later = pool.add('later');
  const unit = units.unitOf(later);
  const place = new NexusLun({} as never, 0, unit as never, false);
  unit?.attach(place);
  units.spaceRecovered();
  expect(place.attentions.take()).toBe(SenseCode.powerOnOrReset);
  expect(place.attentions.take()).toBeUndefined();
  units.spaceLow();
  expect(place.attentions.take()).toBe(SenseCode.softThresholdReached);
});

describe('how reservations of a volume tell initiators apart', () => {
  it('is changed for good, mapped or not, and known to the next unit', async () => {
    await units.setIgnoresIsid(volumeId, true);
    expect(ignoresIsidIn(pool.deviceByName.get('v')?.luState)).toBe(true);
    units.keepOnly(new Set());
    expect(units.unitOf(volumeId)?.ignoresIsid).toBe(true);
    await units.setIgnoresIsid(volumeId, false);
    expect(units.unitOf(volumeId)?.ignoresIsid).toBe(false);
  });

  it('stays when the volume shows another moment', async () => {
    const unit = units.unitOf(volumeId);
    await units.setIgnoresIsid(volumeId, true);
    await units.whileSuspended(volumeId, async () => {
      pool.replace('v');
      await Promise.resolve();
    });
    expect(unit?.ignoresIsid).toBe(true);
  });

  it('stays as it is where it cannot be kept, and the refusal says so', async () => {
    const device = pool.deviceByName.get('v');
    if (device !== undefined) device.changeStatus = IoStatus.noSpace;
    await expect(units.setIgnoresIsid(volumeId, true)).rejects.toMatchObject({
      code: 'unavailable',
      hint: containing('pool status'),
    });
    expect(units.unitOf(volumeId)?.ignoresIsid).toBe(false);
  });
});

function damage(name: string): MemoryDevice {
  const device = pool.deviceByName.get(name);
  if (device === undefined) throw new Error(`no volume ${name}`);
  device.luState = new Uint8Array(40).fill(7);
  return device;
}

describe('what was kept of a unit, and cannot be read', () => {
  it('is said aloud, and left alone as long as a host sees the volume', () => {
    const device = damage('v');
    expect(units.unitOf(volumeId)?.isStateDamaged).toBe(true);
    units.keepOnly(new Set([volumeId]));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('NOT READY');
    expect(lines[0]).toContain('"volume":"v"');
    expect(device.luState).toEqual(new Uint8Array(40).fill(7));
  });

  it('is not replaced by a rule about reservations', async () => {
    const device = damage('v');
    await expect(units.setIgnoresIsid(volumeId, true)).rejects.toMatchObject({ code: 'conflict' });
    expect(device.luState).toEqual(new Uint8Array(40).fill(7));
  });

  it('is forgotten when the volume is unmapped from every host, and not before', () => {
    damage('v');
    units.unitOf(volumeId);
    units.keepOnly(new Set());
    expect(lines[1]).toContain('begins without reservations');
    expect(units.unitOf(volumeId)?.isStateDamaged).toBe(false);
  });

  it('is kept, where it can be read, of a volume that no host sees', () => {
    units.unitOf(volumeId);
    units.keepOnly(new Set());
    expect(pool.deviceByName.get('v')?.luState).toBeUndefined();
    expect(lines).toEqual([]);
  });
});
