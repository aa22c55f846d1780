/** Random histories of a catalogue: records that follow each other as the store would log them. */
import * as fc from 'fast-check';
import { defaultCdpText, parseCdpPolicy, unlimitedCdp } from '../../src/base/cdp-policy.ts';
import {
  Catalogue,
  type SnapshotState,
  type VolumeState,
} from '../../src/volume/catalogue/catalogue.ts';
import {
  AckMode,
  type CatalogueRecord,
  Provisioning,
  RevertReason,
} from '../../src/volume/catalogue/records.ts';
import { HorizonReason } from '../../src/volume/catalogue/retention-records.ts';

const policies = ['all:unlimited', 'all:0', 'all:1h/5G', defaultCdpText].map(
  (text) => parseCdpPolicy(text) ?? unlimitedCdp,
);
const names = ['a', 'b', 'lun0', 'ä-ö', '"quoted"'];
const blockBytes = 4096;

export interface Dice {
  readonly kind: number;
  readonly pick: number;
  readonly size: number;
}

/** Throws of dice, from which `randomCatalogue` makes a history. */
export const diceRolls = fc.array(
  fc.record({
    kind: fc.nat(15),
    pick: fc.nat(1000),
    size: fc.integer({ min: 1, max: 2 ** 30 }),
  }),
  { maxLength: 60 },
);

function id(seed: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, index) => (seed * 31 + index * 7) & 0xff);
}

/** The catalogue that such records lead to; `on`: from one that `from` rolls have led to already. */
export function randomCatalogue(
  rolls: readonly Dice[],
  { on, from }: { readonly on: Catalogue; readonly from: number } = {
    on: new Catalogue(),
    from: 0,
  },
): Catalogue {
  rolls.forEach((dice, index) => {
    const at = from + index;
    const record = recordOf(on, dice, at);
    if (record !== undefined) on.apply(record, (at + 1) * 8192);
  });
  return on;
}

function recordOf(catalogue: Catalogue, dice: Dice, index: number): CatalogueRecord | undefined {
  const volumes = catalogue.volumes();
  const volume = volumes[dice.pick % Math.max(1, volumes.length)];
  if (volume === undefined || dice.kind === 0) return create(catalogue, dice, index);
  if (dice.kind < 6) return ofVolume(catalogue, volume, dice, index);
  return dice.kind < 12
    ? ofMoment(catalogue, volume, dice, index)
    : ofRetention(volumes, volume, dice, index);
}

function freeName(catalogue: Catalogue, { pick }: Dice, index: number): string {
  return `${names[pick % names.length]}${catalogue.volumeCount}-${index}`;
}

function create(catalogue: Catalogue, dice: Dice, index: number): CatalogueRecord {
  return {
    kind: 'vol-create',
    line: catalogue.takeLine(),
    uuid: id(index),
    name: freeName(catalogue, dice, index),
    sizeBytes: dice.size * blockBytes,
    naa: id(index + 1000),
    serial: `s${index}`,
    ack: dice.pick % 2 === 0 ? AckMode.durable : AckMode.writeBack,
    createdMs: dice.pick,
    ...(dice.size % 3 === 0 ? { provisioning: Provisioning.thick } : {}),
  };
}

/** What happens to a volume as a whole. */
function ofVolume(
  catalogue: Catalogue,
  volume: VolumeState,
  dice: Dice,
  index: number,
): CatalogueRecord {
  const { uuid, line } = volume;
  switch (dice.kind) {
    case 1:
      return { kind: 'vol-set', line, uuid, name: freeName(catalogue, dice, index) };
    case 2:
      return {
        kind: 'vol-set',
        line,
        uuid,
        ack: AckMode.writeBack,
        provisioning: Provisioning.thick,
      };
    case 3:
      return { kind: 'vol-resize', line, uuid, sizeBytes: dice.size * blockBytes };
    case 4:
      return { kind: 'lu-state', line, uuid, state: id(dice.pick).subarray(0, dice.pick % 17) };
    default:
      return dice.pick % 4 === 0
        ? { kind: 'vol-delete', line, uuid }
        : {
            kind: 'epoch',
            epoch: catalogue.epochs.length + 1,
            nodeUuid: id(1),
            openId: id(dice.pick),
            startPosition: index,
          };
  }
}

/** Policies, pins and horizons. */
function ofRetention(
  volumes: readonly VolumeState[],
  volume: VolumeState,
  { kind, pick }: Dice,
  index: number,
): CatalogueRecord | undefined {
  const { uuid, line, pins, horizon } = volume;
  const pin = pins.at(pick % Math.max(1, pins.length));
  const position = index * 8192 + pick;
  switch (kind) {
    case 12:
      return { kind: 'pin', timeMs: index, lines: volumes.map((each) => each.line) };
    case 13:
      return (
        pin && { kind: 'unpin', pins: [{ line: volume.history[0]?.line ?? line, cut: pin.cut }] }
      );
    case 14:
      if (position <= (horizon?.position ?? -1)) return undefined;
      return {
        kind: 'horizon',
        moves: [{ line, position, timeMs: pick, reason: HorizonReason.age }],
      };
    default:
      return {
        kind: 'vol-set',
        line,
        uuid,
        policy: policies[pick % policies.length] ?? unlimitedCdp,
        ...(pick % 3 === 0 ? {} : { isGuaranteed: pick % 3 === 1 }),
      };
  }
}

function snapshotChange({ uuid }: SnapshotState, line: number, { pick }: Dice): CatalogueRecord {
  if (pick % 2 === 0) return { kind: 'snap-delete', line, uuid };
  return { kind: 'snap-set', line, uuid, lockedUntilMs: pick % 5 };
}

/** Snapshots, views and rollbacks. */
function ofMoment(
  catalogue: Catalogue,
  volume: VolumeState,
  dice: Dice,
  index: number,
): CatalogueRecord | undefined {
  const { uuid, line, sizeBytes } = volume;
  // Not the first of the map: that has no order, and one that was read back has another.
  const [firstName = ''] = [...volume.snapshotByName.keys()].sort();
  const snapshot = volume.snapshotByName.get(firstName);
  const snap = {
    kind: 'snap' as const,
    line,
    volumeUuid: uuid,
    uuid: id(index),
    name: `${names[dice.pick % names.length]}${index}`,
    createdMs: dice.pick,
  };
  const past = { cut: index * dice.pick, sizeBytes, ticks: dice.size, label: `-${dice.pick}m` };
  const fork = { parentLine: line, forkPosition: dice.pick % 2 === 0 ? index * 4096 : undefined };
  switch (dice.kind) {
    case 6:
      return snap;
    case 7:
      return { ...snap, past };
    case 8:
      return snapshot && snapshotChange(snapshot, line, dice);
    case 9:
      return volume.view && { kind: 'promote', line, uuid };
    case 10:
      return {
        ...create(catalogue, dice, index),
        ...fork,
        kind: 'view',
        sourceUuid: uuid,
        label: 'now',
      } as CatalogueRecord;
    default:
      return {
        kind: 'revert',
        line: catalogue.takeLine(),
        uuid,
        ...fork,
        sizeBytes: dice.size * blockBytes,
        reason: Object.values(RevertReason)[dice.pick % 3] ?? RevertReason.undo,
        label: 'snapshot:x',
        createdMs: dice.pick,
      };
  }
}
