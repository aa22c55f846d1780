/**
 * Catalogue: which volumes, lines and snapshots there are. A fold over the catalogue records of the log, in order:
 * `apply` is the only way it changes, live, in recovery and in a rebuild alike, so all three agree by construction.
 *
 *     line 1 ────┬──────────▶ volume "a" until its rollback     (left behind, still reachable)
 *                │ snapshot ──┬─▶ line 2 ──▶ volume "a" now
 *                             └─▶ line 3 ──▶ view "v"
 */
import { assert } from '../../base/assert.ts';
import { unlimitedCdp } from '../../base/cdp-policy.ts';
import { uuidText } from '../../base/uuid.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { Steps } from '../steps.ts';
import {
  addPastPin,
  addPin,
  type KeptMoments,
  moveHorizon,
  pinAt,
  removePin,
} from './kept-moments.ts';
import { PinList } from './pin-list.ts';
import {
  type AckMode,
  type CatalogueRecord,
  type Fork,
  isRetention,
  Provisioning,
  type Revert,
  type View,
  type VolCreate,
  type VolSet,
} from './records.ts';
import type { Horizon, Pin, Unpin } from './retention-records.ts';
import type { PastMoment, Snap } from './snapshot-records.ts';

export interface SnapshotState {
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly line: number;
  /** Everything before it in the log is in the snapshot; one value for all snapshots of a cut. */
  readonly cut: number;
  readonly createdMs: number;
  readonly sizeBytes: number;
  /** It cannot be deleted until then, milliseconds since 1970; 0 = it can. */
  lockedUntilMs: number;
  /** The moment, when it was past already as it was named at `createdMs`. */
  readonly past: PastMoment | undefined;
}

/** A line: one writable history, in order of resizes. Lines are never forgotten: others may have begun in them. */
export interface LineState {
  readonly id: number;
  /** 0 = none: it began empty. */
  readonly parentLine: number;
  /** Everything of the parent before this position belongs to the line. */
  readonly forkPosition: number;
  readonly createdPosition: number;
  readonly sizeBytes: number;
  readonly resizes: { readonly position: number; readonly sizeBytes: number }[];
}

/** A stretch of a volume's history in one line. */
export interface LineSpan {
  readonly line: number;
  readonly fromPosition: number;
  readonly startedMs: number;
  /** How it began: "created", "view of ...", "rollback to ...". */
  readonly reason: 'created' | 'view' | 'rollback' | 'undo' | 'refresh';
  readonly label: string;
  /** Size of the volume when it was left; undefined for the present one. */
  leftAt: { readonly position: number; readonly sizeBytes: number } | undefined;
}

export interface VolumeState extends KeptMoments {
  readonly uuid: Uint8Array;
  name: string;
  line: number;
  sizeBytes: number;
  readonly naa: Uint8Array;
  readonly serial: string;
  ack: AckMode;
  provisioning: Provisioning;
  readonly createdMs: number;
  readonly createdPosition: number;
  readonly snapshotByName: Map<string, SnapshotState>;
  /** What front ends keep for the identity (reservations, mode pages): latest only, not part of any history. */
  luState: Uint8Array | undefined;
  /** What it is a view of; undefined for a volume of its own. */
  view: { readonly sourceUuid: Uint8Array; label: string } | undefined;
  /** Oldest first; the last one is the present. */
  readonly history: LineSpan[];
}

export interface EpochState {
  readonly epoch: number;
  readonly openId: Uint8Array;
  readonly nodeUuid: Uint8Array;
  readonly startPosition: number;
}

export interface CatalogueContents {
  readonly lines: readonly LineState[];
  readonly volumes: readonly VolumeState[];
  readonly epochs: readonly EpochState[];
}

export class Catalogue {
  readonly #volumeById = new Map<string, VolumeState>();
  readonly #volumeByName = new Map<string, VolumeState>();
  /** By name order; undefined when names have changed since it was made. */
  #sortedVolumes: readonly VolumeState[] | undefined;
  readonly #snapshotById = new Map<string, { volume: VolumeState; snapshot: SnapshotState }>();
  readonly #epochs: EpochState[] = [];
  readonly #lineById = new Map<number, LineState>();
  /** By every line that it was ever in; a line belongs to one volume. */
  readonly #volumeByLine = new Map<number, VolumeState>();
  #nextLine = 1;
  #appliedPosition = 0;

  /**
   * A catalogue with these contents, as it was behind `position`. Takes them over. Throws FormatError when they contradict
   * themselves: no records could have led to them.
   */
  static *restore(contents: CatalogueContents, position: number): Steps<Catalogue> {
    const made = new Catalogue();
    for (const line of contents.lines) {
      made.#lineRestore(line);
      yield;
    }
    for (const volume of contents.volumes) yield* made.#volumeRestore(volume);
    made.#epochs.push(...contents.epochs);
    made.#appliedPosition = position;
    return made;
  }

  /** Position of the newest record applied. */
  get appliedPosition(): number {
    return this.#appliedPosition;
  }

  get nextLine(): number {
    return this.#nextLine;
  }

  get epochs(): readonly EpochState[] {
    return this.#epochs;
  }

  get volumeCount(): number {
    return this.#volumeById.size;
  }

  get snapshotCount(): number {
    return this.#snapshotById.size;
  }

  /** By name order. The list stays as it is when volumes come and go. */
  volumes(): readonly VolumeState[] {
    this.#sortedVolumes ??= [...this.#volumeByName.values()].sort((left, right) =>
      left.name < right.name ? -1 : left.name > right.name ? 1 : 0,
    );
    return this.#sortedVolumes;
  }

  volume(name: string): VolumeState | undefined {
    return this.#volumeByName.get(name);
  }

  volumeById(uuid: Uint8Array): VolumeState | undefined {
    return this.#volumeById.get(uuidText(uuid));
  }

  /** Throws FormatError when there is none. */
  line(id: number): LineState {
    const line = this.#lineById.get(id);
    if (line === undefined) throw new FormatError(`no line ${id}`);
    return line;
  }

  /** In the order in which they were made; an iteration that goes on later also finds those that were made meanwhile. */
  lines(): IterableIterator<LineState> {
    return this.#lineById.values();
  }

  /** Lines that volumes and views are in now. */
  currentLines(): number[] {
    return [...this.#volumeById.values()].map((volume) => volume.line);
  }

  /** Takes a line number that no record has used yet. */
  takeLine(): number {
    const line = this.#nextLine;
    this.#nextLine += 1;
    return line;
  }

  /** Applies the record at `position`. Throws FormatError when it contradicts what came before (a damaged or foreign log). */
  apply(record: CatalogueRecord, position: number): void {
    assert(position >= this.#appliedPosition, 'catalogue records out of order');
    if (isRetention(record)) this.#keep(record, position);
    else this.#change(record, position);
  }

  #change(record: Exclude<CatalogueRecord, Pin | Unpin | Horizon>, position: number): void {
    switch (record.kind) {
      case 'vol-create':
      case 'view':
        this.#volumeCreate(record, position);
        break;
      case 'promote':
        this.#volume(record.uuid).view = undefined;
        break;
      case 'revert':
        this.#revert(record, position);
        break;
      case 'vol-set':
        this.#volumeSet(this.#volume(record.uuid), record);
        break;
      case 'vol-resize':
        this.#volume(record.uuid).sizeBytes = record.sizeBytes;
        this.line(record.line).resizes.push({ position, sizeBytes: record.sizeBytes });
        break;
      case 'vol-delete':
        this.#volumeDelete(this.#volume(record.uuid));
        break;
      case 'snap':
        this.#snapshotCreate(record, position);
        break;
      case 'snap-set':
        this.#snapshot(record.uuid).snapshot.lockedUntilMs = record.lockedUntilMs;
        break;
      case 'snap-delete':
        this.#snapshotDelete(record.uuid);
        break;
      case 'lu-state':
        this.#volume(record.uuid).luState = record.state;
        break;
      case 'epoch':
        this.#epochs.push(record);
        break;
      case 'checkpoint':
        break;
    }
    this.#appliedPosition = position;
  }

  #volume(uuid: Uint8Array): VolumeState {
    const volume = this.#volumeById.get(uuidText(uuid));
    if (volume === undefined) throw new FormatError(`no volume ${uuidText(uuid)}`);
    return volume;
  }

  #keep(record: Pin | Unpin | Horizon, position: number): void {
    if (record.kind === 'pin') {
      const pin = pinAt(record, position);
      for (const { line, cut, timeMs } of record.past ?? []) {
        addPastPin(this.#volumeOfLine(line), { cut, timeMs }, position);
      }
      for (const line of record.lines) addPin(this.#volumeOfLine(line), pin);
    } else if (record.kind === 'unpin') {
      for (const { line, cut } of record.pins) removePin(this.#volumeOfLine(line), cut);
    } else {
      for (const move of record.moves) moveHorizon(this.#volumeOfLine(move.line), move, position);
    }
  }

  #volumeOfLine(line: number): VolumeState {
    const volume = this.#volumeByLine.get(line);
    if (volume === undefined) throw new FormatError(`no volume was ever in line ${line}`);
    return volume;
  }

  #volumeCreate(record: VolCreate | View, position: number): void {
    const key = uuidText(record.uuid);
    if (this.#volumeById.has(key) || this.#volumeByName.has(record.name)) {
      throw new FormatError(`volume ${record.name} is there already`);
    }
    const volume: VolumeState = {
      uuid: record.uuid,
      name: record.name,
      line: record.line,
      sizeBytes: record.sizeBytes,
      naa: record.naa,
      serial: record.serial,
      ack: record.ack,
      provisioning: (record.kind === 'view' ? undefined : record.provisioning) ?? Provisioning.thin,
      createdMs: record.createdMs,
      createdPosition: position,
      snapshotByName: new Map(),
      policy: record.policy ?? unlimitedCdp,
      isGuaranteed: record.isGuaranteed ?? false,
      horizon: undefined,
      pins: new PinList(),
      luState: undefined,
      view:
        record.kind === 'view' ? { sourceUuid: record.sourceUuid, label: record.label } : undefined,
      history: [
        {
          line: record.line,
          fromPosition: position,
          startedMs: record.createdMs,
          reason: record.kind === 'view' ? 'view' : 'created',
          label: record.kind === 'view' ? record.label : '',
          leftAt: undefined,
        },
      ],
    };
    this.#volumeById.set(key, volume);
    this.#nameSet(record.name, volume);
    this.#volumeByLine.set(record.line, volume);
    this.#lineCreate(record, record.kind === 'view' ? record : undefined, position);
  }

  #lineCreate(
    record: { readonly line: number; readonly sizeBytes: number },
    fork: Fork | undefined,
    position: number,
  ): void {
    if (this.#lineById.has(record.line))
      throw new FormatError(`line ${record.line} is there already`);
    if (fork !== undefined && this.line(fork.parentLine).id >= record.line) {
      throw new FormatError(`line ${record.line} is older than line ${fork.parentLine}`);
    }
    this.#lineById.set(record.line, {
      id: record.line,
      parentLine: fork?.parentLine ?? 0,
      forkPosition: fork === undefined ? 0 : (fork.forkPosition ?? position),
      createdPosition: position,
      sizeBytes: record.sizeBytes,
      resizes: [],
    });
    this.#nextLine = Math.max(this.#nextLine, record.line + 1);
  }

  #lineRestore(line: LineState): void {
    if (this.#lineById.has(line.id)) throw new FormatError(`line ${line.id} is there already`);
    if (line.parentLine !== 0 && this.line(line.parentLine).id >= line.id) {
      throw new FormatError(`line ${line.id} is older than line ${line.parentLine}`);
    }
    this.#lineById.set(line.id, line);
    this.#nextLine = Math.max(this.#nextLine, line.id + 1);
  }

  *#volumeRestore(volume: VolumeState): Steps<void> {
    const key = uuidText(volume.uuid);
    if (this.#volumeById.has(key) || this.#volumeByName.has(volume.name)) {
      throw new FormatError(`volume ${volume.name} is there already`);
    }
    this.line(volume.line);
    if (volume.history.at(-1)?.line !== volume.line) {
      throw new FormatError(`volume ${volume.name}: its history ends in another line`);
    }
    for (const span of volume.history) {
      this.#volumeByLine.set(this.line(span.line).id, volume);
    }
    this.#volumeById.set(key, volume);
    this.#nameSet(volume.name, volume);
    for (const snapshot of volume.snapshotByName.values()) {
      this.line(snapshot.line);
      const id = uuidText(snapshot.uuid);
      if (this.#snapshotById.has(id)) throw new FormatError(`snapshot ${id} is there already`);
      this.#snapshotById.set(id, { volume, snapshot });
      yield;
    }
  }

  #revert(record: Revert, position: number): void {
    const volume = this.#volume(record.uuid);
    this.#lineCreate(record, record, position);
    const left = volume.history.at(-1);
    if (left !== undefined) left.leftAt = { position, sizeBytes: volume.sizeBytes };
    const reasons = ['rollback', 'undo', 'refresh'] as const;
    volume.history.push({
      line: record.line,
      fromPosition: position,
      startedMs: record.createdMs,
      reason: reasons[record.reason],
      label: record.label,
      leftAt: undefined,
    });
    volume.line = record.line;
    this.#volumeByLine.set(record.line, volume);
    volume.sizeBytes = record.sizeBytes;
    if (volume.view !== undefined) volume.view.label = record.label;
  }

  #volumeSet(volume: VolumeState, record: VolSet): void {
    if (record.ack !== undefined) volume.ack = record.ack;
    if (record.policy !== undefined) volume.policy = record.policy;
    volume.isGuaranteed = record.isGuaranteed ?? volume.isGuaranteed;
    volume.provisioning = record.provisioning ?? volume.provisioning;
    const { name } = record;
    if (name === undefined) return;
    if (this.#volumeByName.has(name)) throw new FormatError(`volume ${name} is there already`);
    this.#nameDelete(volume.name);
    volume.name = name;
    this.#nameSet(name, volume);
  }

  #nameSet(name: string, volume: VolumeState): void {
    this.#volumeByName.set(name, volume);
    this.#sortedVolumes = undefined;
  }

  #nameDelete(name: string): void {
    this.#volumeByName.delete(name);
    this.#sortedVolumes = undefined;
  }

  #volumeDelete(volume: VolumeState): void {
    this.#volumeById.delete(uuidText(volume.uuid));
    this.#nameDelete(volume.name);
    for (const { line } of volume.history) this.#volumeByLine.delete(line);
    for (const snapshot of volume.snapshotByName.values()) {
      this.#snapshotById.delete(uuidText(snapshot.uuid));
    }
  }

  #snapshotCreate(record: Snap, position: number): void {
    const volume = this.#volume(record.volumeUuid);
    if (volume.snapshotByName.has(record.name)) {
      throw new FormatError(`snapshot ${volume.name}@${record.name} is there already`);
    }
    const { past } = record;
    if (past !== undefined && past.cut > position) {
      throw new FormatError(`snapshot ${volume.name}@${record.name} is of the future`);
    }
    const snapshot: SnapshotState = {
      uuid: record.uuid,
      name: record.name,
      line: record.line,
      cut: past?.cut ?? positionOf(frameAddressOf(position), 0),
      createdMs: record.createdMs,
      sizeBytes: past?.sizeBytes ?? volume.sizeBytes,
      lockedUntilMs: 0,
      past,
    };
    volume.snapshotByName.set(record.name, snapshot);
    this.#snapshotById.set(uuidText(record.uuid), { volume, snapshot });
  }

  #snapshotDelete(uuid: Uint8Array): void {
    const { volume, snapshot } = this.#snapshot(uuid);
    volume.snapshotByName.delete(snapshot.name);
    this.#snapshotById.delete(uuidText(uuid));
  }

  #snapshot(uuid: Uint8Array): {
    readonly volume: VolumeState;
    readonly snapshot: SnapshotState;
  } {
    const key = uuidText(uuid);
    const found = this.#snapshotById.get(key);
    if (found === undefined) throw new FormatError(`no snapshot ${key}`);
    return found;
  }
}
