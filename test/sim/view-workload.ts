/** A random operator and client of a pool with views: what is asked next, given what the pool holds. */
import { blockSizeBytes } from '../../src/device/block-device.ts';
import { type DataOp, isDataOp, type ModelVolume, volumeByName } from './model.ts';
import type { SeededRandom } from './random.ts';
import { type CatalogueOp, lineageOf, type ViewOp, type ViewState } from './view-model.ts';

const volumesMax = 6;
const snapshotsMax = 4;
const volumeNames = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta'] as const;
const snapshotNames = ['one', 'two', 'three', 'four', 'five'] as const;
/** Blocks of new volumes; more than 512 means more than one leaf of the map. */
const volumeBlocks = [4, 12, 12, 40, 40, 600] as const;
/** Nine leaves and a bit: the index tells of eight of them at once when all are trimmed. Reading it takes time. */
const wideBlocks = 4640;
const wideShare = 0.06;
const leafBlocks = 512;
const largestWriteBlocks = 20;

/** How the volumes of a run answer. */
export type AckStyle = 'durable' | 'write-back' | 'mixed';

export interface NextViewOp {
  readonly op: ViewOp;
  readonly fua: boolean;
  /** Nothing else may be in flight while it is: its records, or when they count, are not one place in the order. */
  readonly isAlone: boolean;
}

type Maker = (volume: ModelVolume, state: ViewState) => CatalogueOp;

export class ViewWorkload {
  readonly #random: SeededRandom;
  readonly #ackStyle: AckStyle;
  /** Of a thousand operations, how many concern the catalogue. */
  readonly #catalogueShare: number;
  readonly #makers: readonly (readonly [weight: number, make: Maker])[];
  #nextVolume = 1;
  #sequence = 0;

  constructor(random: SeededRandom, ackStyle: AckStyle) {
    this.#random = random;
    this.#ackStyle = ackStyle;
    this.#catalogueShare = random.pick([150, 300, 500]);
    this.#makers = [
      [16, (volume) => ({ kind: 'snapshotCreate', volume: volume.id, name: this.#snapshotName() })],
      [6, (volume) => this.#snapshotDelete(volume)],
      [3, (volume, state) => this.#cut(volume, state)],
      [18, (volume, state) => this.#viewCreate(volume, state)],
      [10, (volume, state) => this.#refresh(volume, state)],
      [4, (volume, state) => this.#promote(volume, state)],
      [12, (volume) => this.#rollback(volume)],
      [10, (volume) => ({ kind: 'volumeUndo', volume: volume.id })],
      [5, (_volume, state) => this.#volumeCreate(state)],
      [6, (volume) => ({ kind: 'volumeDelete', volume: volume.id })],
      [8, (volume) => ({ kind: 'luState', volume: volume.id, sequence: this.#nextSequence() })],
      [5, (volume) => ({ kind: 'volumeRename', volume: volume.id, name: this.#name() })],
      [6, (volume) => ({ kind: 'volumeResize', volume: volume.id, sizeBytes: this.#size() })],
      [ackStyle === 'mixed' ? 5 : 0, (volume) => this.#setAck(volume)],
    ];
  }

  /** `isBusy`: a catalogue operation is in flight, so only data operations may follow now. */
  next(state: ViewState, isBusy: boolean): NextViewOp {
    const random = this.#random;
    const volumes = [...state.volumes.values()];
    if (volumes.length === 0) return alone(this.#volumeCreate(state));
    const volume = random.pick(volumes);
    if (!isBusy && random.below(1000) < this.#catalogueShare) {
      const op = this.#catalogueOp(volume, state);
      // Names are looked up when a request is submitted, and ack modes decide which order a write belongs to.
      return { op, fua: false, isAlone: op.kind === 'volumeSetAck' };
    }
    const op = this.#dataOp(volume, random.pick(volumes));
    const fua = volume.isWriteBack && random.chance(0.1);
    return { op, fua, isAlone: fua || isTornOrLate(op) };
  }

  #catalogueOp(volume: ModelVolume, state: ViewState): CatalogueOp {
    let dice = this.#random.below(this.#makers.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, make] of this.#makers) {
      dice -= weight;
      if (dice < 0) return make(volume, state);
    }
    throw new Error('no operation chosen');
  }

  // --- data --------------------------------------------------------------------------------------------------------

  #nextSequence(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  #dataOp(volume: ModelVolume, other: ModelVolume): DataOp {
    const random = this.#random;
    const count = volume.sizeBytes / blockSizeBytes;
    const blocks = Math.min(count, random.between(1, random.chance(0.8) ? 3 : largestWriteBlocks));
    const span = random.chance(0.7) ? Math.min(count, 12) : count;
    const first = this.#isAtLeafEnd(count)
      ? Math.min(leafBlocks - random.below(blocks + 1), count - blocks)
      : Math.min(random.below(span), count - blocks);
    const head = random.chance(0.25) ? random.below(blockSizeBytes) : 0;
    const tail = random.chance(0.25) ? random.below(blockSizeBytes - head) : 0;
    const offset = first * blockSizeBytes + head;
    const length = blocks * blockSizeBytes - head - tail;
    const place = { volume: volume.id, offset, length };
    const dice = random.below(100);
    if (dice < 50) return { kind: 'write', ...place, sequence: this.#nextSequence() };
    if (dice < 56) return { kind: 'orWrite', ...place, sequence: this.#nextSequence() };
    if (dice < 66) {
      const wrongAt = random.chance(0.3) ? random.below(length) : undefined;
      return { kind: 'compareAndWrite', ...place, sequence: this.#nextSequence(), wrongAt };
    }
    if (dice < 80) {
      const clone = this.#clone({ volume, first, blocks }, other);
      if (clone !== undefined) return clone;
    }
    const kind = random.chance(0.5) ? 'trim' : 'zero';
    const noHole = kind === 'zero' && random.chance(0.5);
    // As a guest does that formats a disk.
    if (random.chance(0.2)) {
      return { kind, volume: volume.id, offset: 0, length: volume.sizeBytes, noHole };
    }
    return { kind, volume: volume.id, offset, length, noHole };
  }

  /** Large volumes: often where one leaf of the map ends and the next one begins. */
  #isAtLeafEnd(count: number): boolean {
    return count > leafBlocks && this.#random.chance(0.4);
  }

  /** Undefined when there is no place in `from` that fits. */
  #clone(
    to: { readonly volume: ModelVolume; readonly first: number; readonly blocks: number },
    from: ModelVolume,
  ): DataOp | undefined {
    const random = this.#random;
    const { volume, first, blocks } = to;
    const names = [...from.snapshotByName.keys()];
    const name = names.length > 0 && random.chance(0.3) ? random.pick(names) : undefined;
    const moment = name === undefined ? from : from.snapshotByName.get(name);
    if (moment === undefined) return undefined;
    const room = moment.sizeBytes / blockSizeBytes - blocks;
    if (room < 0) return undefined;
    const sourceFirst = random.below(Math.min(room, 14) + 1);
    const isOwn = name === undefined && from.id === volume.id;
    if (isOwn && Math.abs(sourceFirst - first) < blocks) return undefined;
    return {
      kind: 'clone',
      volume: volume.id,
      offset: first * blockSizeBytes,
      length: blocks * blockSizeBytes,
      source: from.id,
      sourceOffset: sourceFirst * blockSizeBytes,
      snapshot: name === undefined ? undefined : { name, blocks: moment.blocks },
    };
  }

  // --- catalogue ---------------------------------------------------------------------------------------------------

  /** Any name: also one that is taken, which must be refused. */
  #name(): string {
    return this.#random.pick(volumeNames);
  }

  #snapshotName(): string {
    return this.#random.pick(snapshotNames);
  }

  #size(): number {
    const blocks = this.#random.chance(wideShare) ? wideBlocks : this.#random.pick(volumeBlocks);
    return blocks * blockSizeBytes;
  }

  /** A snapshot of the volume; seldom a name that it does not have. */
  #snapshotOf(volume: ModelVolume): string {
    const names = [...volume.snapshotByName.keys()];
    return names.length === 0 || this.#random.chance(0.03)
      ? this.#snapshotName()
      : this.#random.pick(names);
  }

  #momentOf(volume: ModelVolume | undefined): string | undefined {
    if (volume === undefined || this.#random.chance(0.4)) return undefined;
    return this.#snapshotOf(volume);
  }

  #volumeId(): number {
    const id = this.#nextVolume;
    this.#nextVolume += 1;
    return id;
  }

  /** A name that is free, or, seldom, any; at the limit a delete instead. */
  #newName(state: ViewState): string {
    const free = volumeNames.filter((name) => volumeByName(state.volumes, name) === undefined);
    return this.#random.chance(0.05) ? this.#name() : this.#random.pick(free);
  }

  #isFull(state: ViewState): boolean {
    return state.volumes.size >= volumesMax;
  }

  #volumeCreate(state: ViewState): CatalogueOp {
    if (this.#isFull(state)) return this.#deleteAny(state);
    const isWriteBack =
      this.#ackStyle === 'write-back' || (this.#ackStyle === 'mixed' && this.#random.chance(0.5));
    const name = this.#newName(state);
    const volume = this.#volumeId();
    return { kind: 'volumeCreate', volume, name, sizeBytes: this.#size(), isWriteBack };
  }

  #deleteAny(state: ViewState): CatalogueOp {
    return { kind: 'volumeDelete', volume: this.#random.pick([...state.volumes.keys()]) };
  }

  #viewCreate(source: ModelVolume, state: ViewState): CatalogueOp {
    if (this.#isFull(state)) return this.#deleteAny(state);
    return {
      kind: 'viewCreate',
      volume: this.#volumeId(),
      source: source.id,
      name: this.#newName(state),
      at: this.#momentOf(source),
      isClone: this.#random.chance(0.3),
    };
  }

  /** A view if there is one; seldom anything. */
  #viewOr(volume: ModelVolume, state: ViewState): number {
    const views = [...state.volumes.keys()].filter(
      (id) => lineageOf(state, id).source !== undefined,
    );
    return views.length === 0 || this.#random.chance(0.05) ? volume.id : this.#random.pick(views);
  }

  #refresh(volume: ModelVolume, state: ViewState): CatalogueOp {
    const view = this.#viewOr(volume, state);
    const source = state.volumes.get(lineageOf(state, view).source ?? 0);
    return { kind: 'viewRefresh', volume: view, at: this.#momentOf(source) };
  }

  #promote(volume: ModelVolume, state: ViewState): CatalogueOp {
    return { kind: 'viewPromote', volume: this.#viewOr(volume, state) };
  }

  #rollback(volume: ModelVolume): CatalogueOp {
    return { kind: 'volumeRollback', volume: volume.id, to: this.#snapshotOf(volume) };
  }

  #snapshotDelete(volume: ModelVolume): CatalogueOp {
    return { kind: 'snapshotDelete', volume: volume.id, name: this.#snapshotOf(volume) };
  }

  #cut(volume: ModelVolume, state: ViewState): CatalogueOp {
    const hasRoom = (id: number): boolean =>
      (state.volumes.get(id)?.snapshotByName.size ?? snapshotsMax) < snapshotsMax;
    const others = [...state.volumes.keys()].filter((id) => id !== volume.id && hasRoom(id));
    return { kind: 'snapshotCut', volume: volume.id, others, name: this.#snapshotName() };
  }

  #setAck(volume: ModelVolume): CatalogueOp {
    return { kind: 'volumeSetAck', volume: volume.id, isWriteBack: !volume.isWriteBack };
  }
}

function alone(op: ViewOp): NextViewOp {
  return { op, fua: false, isAlone: !isDataOp(op) };
}

/** A ragged zero or trim is logged in parts; the snapshot of a clone is opened before it is submitted. */
function isTornOrLate(op: DataOp): boolean {
  if (op.kind === 'clone') return op.snapshot !== undefined;
  if (op.kind !== 'zero' && op.kind !== 'trim') return false;
  return op.offset % blockSizeBytes !== 0 || (op.offset + op.length) % blockSizeBytes !== 0;
}
