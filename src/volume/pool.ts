/**
 * Pool: one ordered log, and the volumes and snapshots that are readings of it. The store's door.
 *
 *     volumeCreate, snapshotCreate, ...  ─▶ one catalogue record each ─▶ log ─▶ published: catalogue and maps change
 *     volumeOpen ─▶ BlockDevice ─▶ requests ─▶ range lock ─▶ log ─▶ published: map set, answer
 *                                          └▶ reads: map ─▶ address ─▶ segment file ─▶ checksum
 *
 * Invariants
 * 1. Catalogue and maps change only when a record is published, in log order: live state = replay of the log.
 * 2. Catalogue operations run one at a time, so each is checked against exactly the state that it changes.
 * 3. After a failed write or flush nothing is published or answered any more; `onFailed` tells the engine to stop.
 */
import { present } from '../base/assert.ts';
import { failure, success } from '../base/errors.ts';
import type { BlockDevice, IoStatus } from '../device/block-device.ts';
import type { Staging } from '../device/staging.ts';
import type { SnapshotState, VolumeState } from './catalogue/catalogue.ts';
import { catalogueText } from './catalogue/catalogue-text.ts';
import { AckMode, Provisioning } from './catalogue/records.ts';
import type { CdpFields } from './catalogue/retention-records.ts';
import { Cleaner } from './cleaner/cleaner.ts';
import { Checkpointer } from './core/checkpointer.ts';
import type { Maintenance } from './core/maintenance.ts';
import type { MapBudget } from './core/map-budget.ts';
import { openChangesDevice, openSnapshotDevice } from './core/moment-devices.ts';
import type { MomentMaps } from './core/moment-maps.ts';
import { type Done, Operator, readOnlyPool } from './core/operator.ts';
import type { PoolParts } from './core/parts.ts';
import type { PoolIndex } from './core/pool-index.ts';
import { PoolSettings } from './core/pool-settings.ts';
import { RunThinning } from './core/run-thinning.ts';
import type { RunUpkeep } from './core/run-upkeep.ts';
import type { SegmentReading } from './core/segment-contents.ts';
import { Space, type SpaceReport } from './core/space.ts';
import {
  type ViewOptions,
  type ViewTarget,
  viewPromote,
  viewRefresh,
  viewsCreate,
  volumeRollback,
  volumeUndoRollback,
} from './core/view-operations.ts';
import {
  luStateSave,
  type SnapshotTarget,
  snapshotCreate,
  snapshotDelete,
  volumeCreate,
  volumeDelete,
  volumeRename,
  volumeResize,
  volumeSetAck,
  volumeSetProvisioning,
} from './core/volume-operations.ts';
import { WarmUp } from './core/warm-up.ts';
import { addressOf, slotSizeBytes } from './format/address.ts';
import { type OpenPair, PoolHistory } from './history.ts';
import type { RunPlace } from './index/run-format.ts';
import { Operations, VolumeDevice } from './io/devices.ts';
import { withLivenessAudit } from './liveness/audit.ts';
import { LivenessMark } from './liveness/mark.ts';
import { askSpace } from './liveness/space-question.ts';
import type { LogWriter } from './log/log-writer.ts';
import { Packing } from './pack/packing.ts';
import type {
  Growth,
  PoolSpace,
  Progress,
  RebuildReport,
  SpaceQuestion,
  VerifyReport,
} from './reports.ts';
import { RetentionSteward } from './retention/steward.ts';
import { Scrubber } from './scrub/scrubber.ts';

export interface OpenSnapshot {
  readonly device: BlockDevice;
  close(): void;
}

export interface OpenChanges extends OpenSnapshot {
  readonly diff: OpenPair['diff'];
}

export class Pool {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #upkeep: RunUpkeep;
  readonly #index: PoolIndex;
  readonly #operator: Operator;
  readonly #operations: Operations;
  readonly #space: Space;
  readonly warmUp: WarmUp;
  readonly #budget: MapBudget;
  readonly scrubber: Scrubber;
  /** What is kept of segments goes into packs. */
  readonly packing: Packing;
  /** Gives space back. */
  readonly cleaner: Cleaner;
  /** Capacity and limits of use. */
  readonly settings: PoolSettings;
  /** Which blocks of the log can still be reached. */
  readonly mark: LivenessMark;
  /** Past moments of volumes, and what happened between them. */
  readonly history: PoolHistory;
  /** How much of the past is kept. */
  readonly retention: RetentionSteward;
  readonly #checkpointer: Checkpointer;
  #isOpen = false;
  /** Why the pool is read-only; undefined = it is not. */
  readonly readOnlyReason: string | undefined;
  /** Read-only because acknowledged writes are missing, nobody knows where: heads may show older content in their place. */
  readonly isIncomplete: boolean;

  /** Made by `openPool` only. */
  constructor(
    parts: PoolParts,
    helpers: {
      readonly maintenance: Maintenance;
      readonly upkeep: RunUpkeep;
      readonly index: PoolIndex;
      readonly moments: MomentMaps;
      readonly budget: MapBudget;
      readonly reading: SegmentReading;
      /** Bytes of recovered log behind the newest checkpoint. */
      readonly bytesSinceCheckpoint: number;
    },
    readOnly: { readonly reason: string; readonly isIncomplete: boolean } | undefined,
  ) {
    const { maintenance } = helpers;
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.#upkeep = helpers.upkeep;
    this.#index = helpers.index;
    const files = { runs: helpers.index.runs, packs: parts.containers };
    this.#space = new Space(parts, files, (request, line) => {
      this.#operations.release(request, line);
    });
    const { reader, staging } = parts;
    const log = (): LogWriter => present(parts.writer, 'log of a writable pool').log;
    this.#operations = new Operations(reader, { reader, staging, log }, this.#space);
    this.#operator = new Operator(parts, maintenance, helpers, readOnly?.reason);
    this.settings = new PoolSettings(this.#operator, this.#space);
    this.warmUp = new WarmUp(parts);
    this.#budget = helpers.budget;
    this.#budget.start();
    this.packing = new Packing(parts, maintenance);
    this.scrubber = new Scrubber(parts, maintenance, () => helpers.upkeep.all());
    const onBadRun = (place: RunPlace): void => {
      helpers.upkeep.drop(place);
    };
    this.mark = new LivenessMark(this.#operator, maintenance, {
      runs: helpers.index.runs,
      thinning: new RunThinning(parts, maintenance, helpers.index, onBadRun),
      onBadRun,
    });
    this.history = new PoolHistory(this.#operator);
    this.retention = new RetentionSteward(this.#operator, this.settings);
    const { mark, packing } = this;
    this.cleaner = new Cleaner(parts, { mark, packing, space: () => this.#space.report() });
    maintenance.whenPublished((record) => {
      this.cleaner.recordPublished(record);
    });
    this.#operator.askForRoom(() => this.#space.admitsRecord());
    this.#space.relieveBy({ history: this.retention, cleaner: this.cleaner });
    this.#checkpointer = new Checkpointer(this.#operator, helpers.bytesSinceCheckpoint);
    this.readOnlyReason = readOnly?.reason;
    this.isIncomplete = readOnly?.isIncomplete ?? false;
  }

  get name(): string {
    return this.#parts.superblock.name;
  }

  get uuid(): Uint8Array {
    return this.#parts.superblock.poolUuid;
  }

  /** Whether no volume was ever created in it. */
  get isUntouched(): boolean {
    return this.#parts.catalogue.nextLine === 1;
  }

  get epoch(): number {
    return this.#parts.superblock.epoch;
  }

  get staging(): Staging {
    return this.#parts.staging;
  }

  /** End address of the durable log. */
  get durableThrough(): number {
    return this.#parts.writer?.log.durableThrough ?? this.#parts.superblock.durableThrough;
  }

  /** RAM of all maps. */
  get mapBytes(): number {
    return this.#parts.leaves.usedBytes;
  }

  /** RAM that maps may take. */
  get mapBytesMax(): number {
    return this.#parts.settings.mapBytes;
  }

  get snapshotCount(): number {
    return this.#parts.catalogue.snapshotCount;
  }

  space(): SpaceReport {
    return this.#space.report();
  }

  /** What the blocks of the log are there for, exact to the block, as of now. Works in slices. */
  spaceAccount(question: SpaceQuestion, progress: Progress, done: Done<PoolSpace>): void {
    const growth = (): readonly Growth[] => this.#space.forecast();
    askSpace({ operator: this.#operator, mark: this.mark, growth }, { question, progress }, done);
  }

  /** By name order. What it returns is live: read it, keep nothing. */
  volumes(): readonly VolumeState[] {
    return this.#parts.catalogue.volumes();
  }

  /** Volume or view. Throws OperationError not-found. */
  volume(name: string): VolumeState {
    return this.#operator.volume(name);
  }

  volumeById(uuid: Uint8Array): VolumeState | undefined {
    return this.#parts.catalogue.volumeById(uuid);
  }

  /** Bytes with data in the volume's present state, as far as its map is in memory: after opening it takes a while to fill. */
  mappedBytes(volume: VolumeState): number {
    return (this.#parts.lineById.get(volume.line)?.map.mappedBlocks ?? 0) * slotSizeBytes;
  }

  /** Whether `mappedBytes` may say too little: the map was not looked at in full since opening. */
  isMappedPartial(volume: VolumeState): boolean {
    return this.warmUp.isPartial(volume.line);
  }

  /** Throws OperationError not-found. */
  snapshot(volumeName: string, name: string): SnapshotState {
    return this.#operator.snapshot(volumeName, name);
  }

  /** The volume's head as a device. Throws OperationError not-found. */
  volumeOpen(name: string): BlockDevice {
    const volume = this.volume(name);
    const line = present(this.#parts.lineById.get(volume.line), 'line of a volume');
    const { uuid, naa, serial } = volume;
    const view = {
      get name(): string {
        return volume.name;
      },
      get isThick(): boolean {
        return volume.provisioning === Provisioning.thick;
      },
      get luState(): Uint8Array | undefined {
        return volume.luState;
      },
      saveLuState: (state: Uint8Array, done: (status: IoStatus) => void): void => {
        luStateSave(this.#operator, { uuid, state: state.slice() }, done);
      },
      line,
      uuid,
      naa,
      serial,
    };
    const isReadOnly = this.readOnlyReason !== undefined;
    return new VolumeDevice(view, this.#operations, isReadOnly);
  }

  /** A snapshot as a read-only device; close it when the last user left. Throws OperationError not-found. */
  snapshotOpen(volumeName: string, name: string, done: Done<OpenSnapshot>): void {
    const by = { operator: this.#operator, operations: this.#operations };
    openSnapshotDevice(by, { volume: volumeName, name }, done);
  }

  /** A past moment of a volume as a read-only device, with what changed in it since another one. */
  changesOpen(
    moments: { readonly volume: string; readonly at: string; readonly since: string },
    done: Done<OpenChanges>,
  ): void {
    const { history } = this;
    const by = { operator: this.#operator, operations: this.#operations, history };
    openChangesDevice(by, moments, done);
  }

  volumeCreate(
    options: CdpFields & {
      readonly name: string;
      readonly sizeBytes: number;
      readonly ack?: AckMode;
      readonly provisioning?: Provisioning;
    },
    done: Done<VolumeState>,
  ): void {
    const room = this.#space;
    const defaults = { ack: AckMode.durable, provisioning: Provisioning.thin };
    volumeCreate(this.#operator, { ...defaults, ...options, room }, room.after(done));
  }

  volumeRename(
    options: { readonly name: string; readonly newName: string },
    done: Done<VolumeState>,
  ): void {
    volumeRename(this.#operator, options, done);
  }

  /** Changes when writes are answered; everything before is durable when `done` runs. */
  volumeSetAck(
    options: { readonly name: string; readonly ack: AckMode },
    done: Done<VolumeState>,
  ): void {
    volumeSetAck(this.#operator, options, done);
  }

  /** Whether the pool keeps space for the whole volume. */
  volumeSetProvisioning(
    options: { readonly name: string; readonly provisioning: Provisioning },
    done: Done<VolumeState>,
  ): void {
    const room = this.#space;
    volumeSetProvisioning(this.#operator, { ...options, room }, room.after(done));
  }

  /** A smaller size cuts data off and needs `force`. */
  volumeResize(
    options: { readonly name: string; readonly sizeBytes: number; readonly force: boolean },
    done: Done<VolumeState>,
  ): void {
    const room = this.#space;
    volumeResize(this.#operator, { ...options, room }, room.after(done));
  }

  /** Deletes a volume or view and its snapshots; with snapshots it needs `force`, and a locked one stays. Devices that are open answer shuttingDown from then on. */
  volumeDelete(
    options: { readonly name: string; readonly force: boolean },
    done: Done<{ readonly name: string }>,
  ): void {
    const { locks } = this.retention;
    volumeDelete(this.#operator, { ...options, locks }, this.#space.after(done));
  }

  /** Snapshots of several volumes at one cut, each under its own name; of now, or of a moment that is past. */
  snapshotCreate(
    targets: readonly SnapshotTarget[],
    done: Done<readonly SnapshotState[]>,
    at = 'now',
  ): void {
    snapshotCreate(this.#operator, { targets, at }, done);
  }

  snapshotDelete(target: SnapshotTarget, done: Done<{ readonly name: string }>): void {
    snapshotDelete(this.#operator, { ...target, locks: this.retention.locks }, done);
  }

  /** A writable view of a moment of `source`, or (isClone) a volume of its own that begins with it. Copies nothing. */
  viewCreate(
    { source, name, at, isClone }: ViewTarget & Pick<ViewOptions, 'at' | 'isClone'>,
    done: Done<VolumeState>,
  ): void {
    const targets = [{ source, name }];
    this.viewsCreate({ targets, at, isClone }, (outcome) => {
      done(outcome.ok ? success(present(outcome.value[0], 'the view that was made')) : outcome);
    });
  }

  /** Views of several volumes at one cut, all of them or none. */
  viewsCreate(options: ViewOptions, done: Done<readonly VolumeState[]>): void {
    viewsCreate(this.#operator, options, this.warmUp.afterAll(done));
  }

  /** Moves a view to another moment of its source; it keeps its identity. Devices that are open answer shuttingDown from then on. */
  viewRefresh(
    options: { readonly name: string; readonly at: string },
    done: Done<VolumeState>,
  ): void {
    viewRefresh(this.#operator, options, this.warmUp.after(done));
  }

  /** Makes a view a volume of its own, without copying. */
  viewPromote(name: string, done: Done<VolumeState>): void {
    viewPromote(this.#operator, name, done);
  }

  /** Goes on from a moment; newer snapshots and the state before stay reachable. Open devices answer shuttingDown from then on. */
  volumeRollback(
    options: { readonly name: string; readonly to: string },
    done: Done<VolumeState>,
  ): void {
    volumeRollback(this.#operator, options, this.warmUp.after(done));
  }

  /** Goes back to what the latest rollback or refresh left. */
  volumeUndoRollback(name: string, done: Done<VolumeState>): void {
    volumeUndoRollback(this.#operator, name, this.warmUp.after(done));
  }

  verify(progress: Progress, done: (report: VerifyReport) => void): void {
    const audited = withLivenessAudit(this.#operator, this.mark, done);
    this.#maintenance.verify(this.#upkeep, progress, audited);
  }

  rebuild(progress: Progress, done: Done<RebuildReport>): void {
    if (this.readOnlyReason !== undefined) {
      done(failure(readOnlyPool(this.name, this.readOnlyReason)));
      return;
    }
    this.#maintenance.rebuild(this.#upkeep, progress, done);
  }

  /** Canonical text of the catalogue, for comparisons. */
  catalogueText(): string {
    return catalogueText(this.#parts.catalogue);
  }

  /** The log opened another segment: time to look at space, and to log a checkpoint when one is due. */
  segmentOpened(): void {
    this.#space.segmentOpened();
    // What opening logs does not pass through the operator: until it is over the catalogue may be behind the log.
    if (this.#isOpen) this.#checkpointer.look();
  }

  /** Opening is over: catalogue and log agree. */
  opened(): void {
    this.#isOpen = true;
    this.segmentOpened();
    this.scrubber.open();
    this.retention.start();
    this.packing.start();
    this.cleaner.open();
  }

  /** Logs the whole catalogue, unless that is under way. */
  checkpoint(): void {
    this.#checkpointer.run();
  }

  /**
   * Waits for what is in flight, seals the last segment, marks the pool clean and stops the helpers. No request and no
   * operation may be submitted after this.
   */
  close(done: () => void): void {
    const { writer, keeper, files } = this.#parts;
    this.#checkpointer.stop();
    this.#space.stop();
    this.#upkeep.stop();
    this.retention.stop();
    this.warmUp.stop();
    this.#budget.stop();
    this.scrubber.close();
    this.cleaner.close();
    this.packing.stop();
    const stop = (): void => {
      writer?.commit.stop();
      keeper.stop();
      files.closeAll();
      this.#index.reader.close();
      done();
    };
    if (writer === undefined) {
      stop();
      return;
    }
    writer.supply.stop();
    writer.log.whenIdle(() => {
      this.#maintenance.flushManifest();
      const { segId, nextSlot } = writer.log.place;
      this.#maintenance.seal({ segId, endAddress: addressOf(segId, nextSlot) }, () => {
        this.#maintenance.flushManifest();
        this.settings.markClean();
        stop();
      });
    });
  }
}
