/**
 * Checkpoint: the whole catalogue as one text, cut into CHECKPOINT records, and how it is read. Logged at least once per GiB
 * of log, so that older segments can be given back later; until then a rebuild compares it with what replay has reached there.
 */
import { parseCdpPolicy, unlimitedCdp } from '../../base/cdp-policy.ts';
import { FormatError } from '../format/format-error.ts';
import type { Steps } from '../steps.ts';
import {
  Catalogue,
  type EpochState,
  type LineSpan,
  type LineState,
  type SnapshotState,
  type VolumeState,
} from './catalogue.ts';
import { catalogueText, textVersion } from './catalogue-text.ts';
import { parseJson } from './json-steps.ts';
import type { HorizonState, KeptMoments } from './kept-moments.ts';
import { PinList } from './pin-list.ts';
import { AckMode, type CatalogueRecord, type CheckpointPart, Provisioning } from './records.ts';
import { HorizonReason } from './retention-records.ts';
import { ShapeReader } from './shape-reader.ts';

/** Pins that are read in one step: about 20 us. */
const pinsPerStep = 500;

/**
 * The catalogue that a text says, as it was behind `position`: inverse of `catalogueText`, field by field. In steps: there may be
 * hundreds of thousands of pins and snapshots. What later versions added is left out of texts from before, and read as absent. Throws FormatError for a text that is
 * damaged, contradicts itself, or says what this version does not know.
 */
export function* parseCatalogue(text: string, position: number): Steps<Catalogue> {
  const item = new ShapeReader(yield* parseJson(text), 'catalogue');
  const version = item.number('version');
  if (version !== textVersion) throw new FormatError(`checkpoint: version ${version}`);
  const lines = yield* item.listInSteps('lines', readLine);
  const volumes = yield* item.eachInSteps('volumes', readVolume);
  const epochs = yield* item.listInSteps('epochs', readEpoch);
  item.end();
  return yield* Catalogue.restore({ lines, volumes, epochs }, position);
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

function* readVolume(item: ShapeReader): Steps<VolumeState> {
  const snapshots = yield* item.listInSteps('snapshots', readSnapshot);
  const snapshotByName = yield* byName(snapshots);
  const pins = item.has('pins') ? yield* readPins(item.numbers('pins')) : new PinList();
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
    snapshotByName,
    policy: readPolicy(item),
    isGuaranteed: item.has('guarantee') && item.choice('guarantee', [0, 1]) === 1,
    horizon: item.has('horizon') ? item.optional('horizon', readHorizon) : undefined,
    pins,
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

function* readPins(numbers: ReturnType<ShapeReader['numbers']>): Steps<PinList> {
  if (numbers.length % 2 !== 0) throw new FormatError('checkpoint: a pin is cut short');
  const pins = new PinList(numbers.length / 2);
  let [cut, timeMs] = [0, 0];
  for (let index = 0; index < numbers.length; index += 2) {
    const further = numbers.at(index);
    if (further === 0) throw new FormatError('checkpoint: two pins of one state');
    cut += further;
    timeMs += numbers.at(index + 1);
    pins.add({ cut, timeMs });
    if (pins.length % pinsPerStep === 0) yield;
  }
  return pins;
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

function* byName(snapshots: readonly SnapshotState[]): Steps<Map<string, SnapshotState>> {
  const found = new Map<string, SnapshotState>();
  for (const snapshot of snapshots) {
    found.set(snapshot.name, snapshot);
    yield;
  }
  if (found.size === snapshots.length) return found;
  throw new FormatError('checkpoint: two snapshots of one volume have one name');
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

interface PlacedRecord {
  readonly record: CatalogueRecord;
  readonly position: number;
}

/** For the manifest, which wants to know where checkpoints are: there may be megabytes of text in each. */
export function withoutText(placed: PlacedRecord): PlacedRecord {
  const { record, position } = placed;
  if (record.kind !== 'checkpoint') return placed;
  return { record: { ...record, bytes: new Uint8Array() }, position };
}

/** Compares the checkpoints of a log with the records before each; feed it every record, in order. */
export class CheckpointAudit {
  readonly #catalogue = new Catalogue();
  readonly #collector = new CheckpointCollector();

  /** Returns the record without a checkpoint's text. Throws FormatError when a checkpoint is not what the records add up to. */
  add(placed: PlacedRecord): PlacedRecord {
    const { record, position } = placed;
    this.#catalogue.apply(record, position);
    const text = this.#collector.add(record, this.#catalogue.appliedPosition);
    if (text === undefined || text === catalogueText(this.#catalogue)) return withoutText(placed);
    throw new FormatError(
      `the checkpoint at position ${position} contradicts the records before it`,
    );
  }
}
