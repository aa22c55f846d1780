/**
 * Checkpoint: the whole catalogue as one text, cut into CHECKPOINT records. Logged at least once per GiB of log, so that
 * older segments can be given back later; until then a rebuild compares it with what replay has reached there.
 */
import { formatCdpPolicy, parseCdpPolicy, unlimitedCdp } from '../../base/cdp-policy.ts';
import { toHex } from '../../base/uuid.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import {
  Catalogue,
  type EpochState,
  type LineSpan,
  type LineState,
  type SnapshotState,
  type VolumeState,
} from './catalogue.ts';
import type { HorizonState, KeptMoments, PinState } from './kept-moments.ts';
import { AckMode, type CatalogueRecord, type CheckpointPart, Provisioning } from './records.ts';
import { HorizonReason } from './retention-records.ts';
import { readShape, type ShapeReader } from './shape-reader.ts';

const textVersion = 1;
const unlimitedText = formatCdpPolicy(unlimitedCdp);

/** Canonical text of a catalogue: equal catalogues give equal texts. */
export function catalogueText(catalogue: Catalogue): string {
  return JSON.stringify({
    version: textVersion,
    lines: catalogue.lines(),
    volumes: catalogue.volumes().map(volumeShape),
    epochs: catalogue.epochs.map((epoch) => ({
      epoch: epoch.epoch,
      openId: toHex(epoch.openId),
      nodeUuid: toHex(epoch.nodeUuid),
      startPosition: epoch.startPosition,
    })),
  });
}

function volumeShape(volume: VolumeState): unknown {
  return {
    uuid: toHex(volume.uuid),
    name: volume.name,
    line: volume.line,
    sizeBytes: volume.sizeBytes,
    naa: toHex(volume.naa),
    serial: volume.serial,
    ack: volume.ack,
    ...(volume.provisioning === Provisioning.thin ? {} : { provisioning: volume.provisioning }),
    createdMs: volume.createdMs,
    createdPosition: volume.createdPosition,
    // Left out when there is none: checkpoints from before there were such states stay equal.
    ...(volume.luState === undefined ? {} : { luState: toHex(volume.luState) }),
    view:
      volume.view === undefined
        ? null
        : { source: toHex(volume.view.sourceUuid), label: volume.view.label },
    history: volume.history.map((span) => ({ ...span, leftAt: span.leftAt ?? null })),
    snapshots: [...volume.snapshotByName.values()].sort(byCut).map(snapshotShape),
    ...keptShape(volume),
  };
}

/** Left out where everything is kept, as in checkpoints from before there were windows. */
function keptShape({ policy, isGuaranteed, horizon, pins }: KeptMoments): object {
  const text = formatCdpPolicy(policy);
  return {
    ...(text === unlimitedText ? {} : { policy: text }),
    ...(isGuaranteed ? { guarantee: 1 } : {}),
    ...(horizon === undefined ? {} : { horizon }),
    ...(pins.length === 0 ? {} : { pins: pinNumbers(pins) }),
  };
}

/** Cut and time of each as what they add to those before: there may be very many, and this is their text. */
function pinNumbers(pins: readonly PinState[]): number[] {
  let [cut, timeMs] = [0, 0];
  return pins.flatMap((pin) => {
    const added = [pin.cut - cut, pin.timeMs - timeMs];
    ({ cut, timeMs } = pin);
    return added;
  });
}

function snapshotShape(snapshot: SnapshotState): unknown {
  return {
    uuid: toHex(snapshot.uuid),
    name: snapshot.name,
    line: snapshot.line,
    cut: snapshot.cut,
    createdMs: snapshot.createdMs,
    sizeBytes: snapshot.sizeBytes,
    ...(snapshot.lockedUntilMs === 0 ? {} : { lockedUntilMs: snapshot.lockedUntilMs }),
    ...(snapshot.past === undefined
      ? {}
      : { momentTicks: snapshot.past.ticks, label: snapshot.past.label }),
  };
}

/**
 * The catalogue that a text says, as it was behind `position`: inverse of `catalogueText`, field by field in the same order.
 * What later versions added is left out of texts from before, and read as absent. Throws FormatError for a text that is
 * damaged, contradicts itself, or says what this version does not know.
 */
export function parseCatalogue(text: string, position: number): Catalogue {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new FormatError('checkpoint: no JSON');
  }
  return readShape(json, 'catalogue', (item) => {
    const version = item.number('version');
    if (version !== textVersion) throw new FormatError(`checkpoint: version ${version}`);
    const lines = item.list('lines', readLine);
    const volumes = item.list('volumes', readVolume);
    const epochs = item.list('epochs', readEpoch);
    return Catalogue.restore({ lines, volumes, epochs }, position);
  });
}

function readLine(item: ShapeReader): LineState {
  return {
    id: item.number('id'),
    parentLine: item.number('parentLine'),
    forkPosition: item.number('forkPosition'),
    createdPosition: item.number('createdPosition'),
    sizeBytes: item.number('sizeBytes'),
    resizes: item.list('resizes', readPlace),
  };
}

function readPlace(item: ShapeReader): { readonly position: number; readonly sizeBytes: number } {
  return { position: item.number('position'), sizeBytes: item.number('sizeBytes') };
}

function readEpoch(item: ShapeReader): EpochState {
  return {
    epoch: item.number('epoch'),
    openId: item.uuid('openId'),
    nodeUuid: item.uuid('nodeUuid'),
    startPosition: item.number('startPosition'),
  };
}

function readVolume(item: ShapeReader): VolumeState {
  return {
    uuid: item.uuid('uuid'),
    name: item.text('name'),
    line: item.number('line'),
    sizeBytes: item.number('sizeBytes'),
    naa: item.uuid('naa'),
    serial: item.text('serial'),
    ack: item.choice('ack', Object.values(AckMode)),
    provisioning: item.has('provisioning')
      ? item.choice('provisioning', Object.values(Provisioning))
      : Provisioning.thin,
    createdMs: item.number('createdMs'),
    createdPosition: item.number('createdPosition'),
    luState: item.has('luState') ? item.bytes('luState') : undefined,
    view: item.optional('view', (view) => ({
      sourceUuid: view.uuid('source'),
      label: view.text('label'),
    })),
    history: item.list('history', readSpan),
    snapshotByName: byName(item.list('snapshots', readSnapshot)),
    policy: readPolicy(item),
    isGuaranteed: item.has('guarantee') && item.choice('guarantee', [0, 1]) === 1,
    horizon: item.has('horizon') ? item.optional('horizon', readHorizon) : undefined,
    pins: item.has('pins') ? readPins(item.numbers('pins')) : [],
  };
}

function readPolicy(item: ShapeReader): KeptMoments['policy'] {
  if (!item.has('policy')) return unlimitedCdp;
  const policy = parseCdpPolicy(item.text('policy'));
  if (policy === undefined) throw new FormatError('checkpoint: no policy that a volume can have');
  return policy;
}

function readHorizon(item: ShapeReader): HorizonState {
  return {
    position: item.number('position'),
    timeMs: item.number('timeMs'),
    reason: item.choice('reason', Object.values(HorizonReason)),
  };
}

function readPins(numbers: readonly number[]): PinState[] {
  if (numbers.length % 2 !== 0) throw new FormatError('checkpoint: a pin is cut short');
  let [cut, timeMs] = [0, 0];
  return Array.from({ length: numbers.length / 2 }, (_, index) => {
    if (numbers[index * 2] === 0) throw new FormatError('checkpoint: two pins of one state');
    cut += numbers[index * 2] ?? 0;
    timeMs += numbers[index * 2 + 1] ?? 0;
    return { cut, timeMs };
  });
}

function readSpan(item: ShapeReader): LineSpan {
  return {
    line: item.number('line'),
    fromPosition: item.number('fromPosition'),
    startedMs: item.number('startedMs'),
    reason: item.choice('reason', ['created', 'view', 'rollback', 'undo', 'refresh']),
    label: item.text('label'),
    leftAt: item.optional('leftAt', readPlace),
  };
}

function readSnapshot(item: ShapeReader): SnapshotState {
  const cut = item.number('cut');
  const sizeBytes = item.number('sizeBytes');
  return {
    uuid: item.uuid('uuid'),
    name: item.text('name'),
    line: item.number('line'),
    cut,
    createdMs: item.number('createdMs'),
    sizeBytes,
    lockedUntilMs: item.has('lockedUntilMs') ? item.number('lockedUntilMs') : 0,
    past: item.has('momentTicks')
      ? { cut, sizeBytes, ticks: item.number('momentTicks'), label: item.text('label') }
      : undefined,
  };
}

function byName(snapshots: readonly SnapshotState[]): Map<string, SnapshotState> {
  const found = new Map(snapshots.map((snapshot) => [snapshot.name, snapshot]));
  if (found.size === snapshots.length) return found;
  throw new FormatError('checkpoint: two snapshots of one volume have one name');
}

function byCut(left: SnapshotState, right: SnapshotState): number {
  return left.cut - right.cut || (left.name < right.name ? -1 : 1);
}

/** The catalogue as records, to be logged one behind the other. */
export function checkpointParts(catalogue: Catalogue): CheckpointPart[] {
  const bytes = new TextEncoder().encode(catalogueText(catalogue));
  const partCount = Math.ceil(bytes.length / limits.checkpointPartBytes);
  return Array.from({ length: partCount }, (_, part) => ({
    kind: 'checkpoint' as const,
    part,
    partCount,
    bytes: bytes.slice(part * limits.checkpointPartBytes, (part + 1) * limits.checkpointPartBytes),
  }));
}

/** Collects checkpoints from the records of a log; feed it every record, in order. */
export class CheckpointCollector {
  #parts: CheckpointPart[] = [];
  #firstPosition = 0;

  /** Position of the first part of the checkpoint that ended last. */
  get firstPosition(): number {
    return this.#firstPosition;
  }

  /** The text of the checkpoint that ends with `record`, the one at `position`; undefined when none does. */
  add(record: CatalogueRecord, position: number): string | undefined {
    if (record.kind !== 'checkpoint') {
      this.#parts = [];
      return undefined;
    }
    // A checkpoint that a crash cut short is followed by another record, or by part 0 of the next.
    if (record.part !== this.#parts.length) this.#parts = [];
    if (record.part !== this.#parts.length) return undefined;
    if (record.part === 0) this.#firstPosition = position;
    this.#parts.push(record);
    if (this.#parts.length < record.partCount) return undefined;
    const decoder = new TextDecoder();
    let text = '';
    for (const part of this.#parts) text += decoder.decode(part.bytes, { stream: true });
    this.#parts = [];
    return text + decoder.decode();
  }
}

/** Throws FormatError when a checkpoint in the log is not what its records add up to. */
export function auditCheckpoints(
  records: readonly { readonly record: CatalogueRecord; readonly position: number }[],
): void {
  const catalogue = new Catalogue();
  const collector = new CheckpointCollector();
  for (const { record, position } of records) {
    catalogue.apply(record, position);
    const text = collector.add(record, catalogue.appliedPosition);
    if (text === undefined || text === catalogueText(catalogue)) continue;
    throw new FormatError(
      `the checkpoint at position ${position} contradicts the records before it`,
    );
  }
}
