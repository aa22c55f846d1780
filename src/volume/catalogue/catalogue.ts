/**
 * Catalogue: which volumes, lines and snapshots there are. A fold over the catalogue records of the log, in order:
 * `apply` is the only way it changes, live, in recovery and in a rebuild alike, so all three agree by construction.
 */
import { assert } from '../../base/assert.ts';
import { uuidText } from '../../base/uuid.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { AckMode, CatalogueRecord, Snap, VolCreate } from './records.ts';

export interface SnapshotState {
  readonly uuid: Uint8Array;
  readonly name: string;
  readonly line: number;
  /** Everything before it in the log is in the snapshot; one value for all snapshots of a cut. */
  readonly cut: number;
  readonly createdMs: number;
  readonly sizeBytes: number;
}

export interface VolumeState {
  readonly uuid: Uint8Array;
  name: string;
  line: number;
  sizeBytes: number;
  readonly naa: Uint8Array;
  readonly serial: string;
  readonly ack: AckMode;
  readonly createdMs: number;
  readonly createdPosition: number;
  readonly snapshotByName: Map<string, SnapshotState>;
}

export interface EpochState {
  readonly epoch: number;
  readonly openId: Uint8Array;
  readonly nodeUuid: Uint8Array;
  readonly startPosition: number;
}

export class Catalogue {
  readonly #volumeById = new Map<string, VolumeState>();
  readonly #volumeByName = new Map<string, VolumeState>();
  readonly #snapshotById = new Map<string, { volume: VolumeState; snapshot: SnapshotState }>();
  readonly #epochs: EpochState[] = [];
  #nextLine = 1;
  #appliedPosition = 0;

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

  /** By name order. */
  volumes(): VolumeState[] {
    return [...this.#volumeByName.values()].sort((left, right) =>
      left.name < right.name ? -1 : left.name > right.name ? 1 : 0,
    );
  }

  volume(name: string): VolumeState | undefined {
    return this.#volumeByName.get(name);
  }

  volumeByLine(line: number): VolumeState | undefined {
    for (const volume of this.#volumeById.values()) if (volume.line === line) return volume;
    return undefined;
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
    switch (record.kind) {
      case 'vol-create':
        this.#volumeCreate(record, position);
        break;
      case 'vol-set':
        this.#volumeRename(this.#volume(record.uuid), record.name);
        break;
      case 'vol-resize':
        this.#volume(record.uuid).sizeBytes = record.sizeBytes;
        break;
      case 'vol-delete':
        this.#volumeDelete(this.#volume(record.uuid));
        break;
      case 'snap':
        this.#snapshotCreate(record, position);
        break;
      case 'snap-delete':
        this.#snapshotDelete(record.uuid);
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

  #volumeCreate(record: VolCreate, position: number): void {
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
      createdMs: record.createdMs,
      createdPosition: position,
      snapshotByName: new Map(),
    };
    this.#volumeById.set(key, volume);
    this.#volumeByName.set(record.name, volume);
    this.#nextLine = Math.max(this.#nextLine, record.line + 1);
  }

  #volumeRename(volume: VolumeState, name: string): void {
    if (this.#volumeByName.has(name)) throw new FormatError(`volume ${name} is there already`);
    this.#volumeByName.delete(volume.name);
    volume.name = name;
    this.#volumeByName.set(name, volume);
  }

  #volumeDelete(volume: VolumeState): void {
    this.#volumeById.delete(uuidText(volume.uuid));
    this.#volumeByName.delete(volume.name);
    for (const snapshot of volume.snapshotByName.values()) {
      this.#snapshotById.delete(uuidText(snapshot.uuid));
    }
  }

  #snapshotCreate(record: Snap, position: number): void {
    const volume = this.#volume(record.volumeUuid);
    if (volume.snapshotByName.has(record.name)) {
      throw new FormatError(`snapshot ${volume.name}@${record.name} is there already`);
    }
    const snapshot: SnapshotState = {
      uuid: record.uuid,
      name: record.name,
      line: record.line,
      cut: positionOf(frameAddressOf(position), 0),
      createdMs: record.createdMs,
      sizeBytes: volume.sizeBytes,
    };
    volume.snapshotByName.set(record.name, snapshot);
    this.#snapshotById.set(uuidText(record.uuid), { volume, snapshot });
  }

  #snapshotDelete(uuid: Uint8Array): void {
    const key = uuidText(uuid);
    const found = this.#snapshotById.get(key);
    if (found === undefined) throw new FormatError(`no snapshot ${key}`);
    found.volume.snapshotByName.delete(found.snapshot.name);
    this.#snapshotById.delete(key);
  }
}
