/**
 * LogicalUnit: one volume or view as hosts see it, shared by every nexus that may see it.
 *
 *     NexusLun n ──▶ 1 LogicalUnit ─┬─ tasks          order and aborts
 *                                   ├─ modePages      what MODE SELECT may change, current and saved
 *                                   ├─ reservations   RESERVE(6) and PERSISTENT RESERVE
 *                                   └─ device         blocks; replaced when the volume shows another moment
 *
 * What must outlive a restart (saved mode pages, persistent reservations) is one opaque value that the device keeps. When it
 * cannot be read nobody knows who may write: the unit is then NOT READY, MANUAL INTERVENTION REQUIRED (SPC-4 5.9.4), until the
 * value is discarded.
 */
import { type BlockDevice, IoStatus } from '../device/block-device.ts';
import { logicalBlockBytes } from './limits.ts';
import {
  decodeLuState,
  encodeIsidRule,
  encodeLuState,
  ignoresIsidIn,
  LuStatePart,
} from './lu-state.ts';
import { ModePages } from './mode-pages.ts';
import type { NexusLun } from './nexus.ts';
import { type IsidRefusal, type ReservationHost, Reservations } from './reservations.ts';
import { SenseCode } from './sense.ts';
import { TaskSet } from './task-set.ts';

/** Space of the pool that the unit's blocks come from, as hosts may know it. */
export interface SpaceReport {
  readonly usedBytes: number;
  readonly availableBytes: number;
}

export interface LogicalUnitOptions {
  readonly device: BlockDevice;
  /** At most four characters, for INQUIRY. */
  readonly productRevision: string;
  /** For LOG SENSE; cheap. */
  readonly space: () => SpaceReport;
}

type UnitState = 'open' | 'suspended' | 'closed';

export class LogicalUnit implements ReservationHost {
  readonly productRevision: string;
  readonly space: () => SpaceReport;
  readonly nexuses = new Set<NexusLun>();
  readonly tasks: TaskSet;
  readonly modePages: ModePages;
  readonly reservations: Reservations;
  /**
   * What the volume kept for the unit could not be read, or is of a later version: nobody knows who reserved it. Until
   * `discardState` it serves only commands that no reservation refuses. To be logged.
   */
  readonly isStateDamaged: boolean;
  #device: BlockDevice;
  #state: UnitState = 'open';
  #isSpaceLow = false;
  #ignoresIsid: boolean;
  /** Parts of LU_STATE as they are to be on disk. */
  readonly #parts: Map<number, Uint8Array>;

  constructor(options: LogicalUnitOptions) {
    const { device } = options;
    this.#device = device;
    this.productRevision = options.productRevision;
    this.space = options.space;
    this.tasks = new TaskSet(this);
    const parts =
      device.luState === undefined ? new Map<number, Uint8Array>() : decodeLuState(device.luState);
    this.#parts = new Map(parts);
    this.#ignoresIsid = ignoresIsidIn(device.luState);
    this.modePages = new ModePages(this.#parts.get(LuStatePart.modePages));
    this.reservations = new Reservations(this);
    const reserved = this.#parts.get(LuStatePart.persistentReservation);
    const isRestored = reserved === undefined || this.reservations.restore(reserved);
    this.isStateDamaged = parts === undefined || !isRestored;
  }

  get device(): BlockDevice {
    return this.#device;
  }

  get blockCount(): number {
    return Math.floor(this.#device.sizeBytes / logicalBlockBytes);
  }

  get isSuspended(): boolean {
    return this.#state === 'suspended';
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Shows other content from now on, and ends `suspend`. Hosts are told that data, and perhaps the size, changed. */
  replaceDevice(device: BlockDevice): void {
    const isResized = device.sizeBytes !== this.#device.sizeBytes;
    this.#device = device;
    if (this.#state === 'suspended') this.#state = 'open';
    this.raise(SenseCode.inquiryDataChanged);
    if (isResized) this.raise(SenseCode.capacityChanged);
  }

  /** The device has another size: hosts are told. */
  resized(): void {
    this.raise(SenseCode.capacityChanged);
  }

  /** The device is thin or thick as it was not before: hosts are told. */
  provisioningChanged(): void {
    this.raise(SenseCode.inquiryDataChanged);
    if (!this.#isSpaceLow) return;
    if (!this.#device.isThick) this.raise(SenseCode.softThresholdReached);
    else for (const place of this.nexuses) place.attentions.drop(SenseCode.softThresholdReached);
  }

  /** The pool passed its soft limit: every nexus is told once, those that come later too, until `spaceRecovered`. */
  spaceLow(): void {
    if (this.#isSpaceLow) return;
    this.#isSpaceLow = true;
    // Who has space of his own need not care.
    if (!this.#device.isThick) this.raise(SenseCode.softThresholdReached);
  }

  spaceRecovered(): void {
    this.#isSpaceLow = false;
    for (const place of this.nexuses) place.attentions.drop(SenseCode.softThresholdReached);
  }

  /**
   * Runs no further command: those that wait for data and those that come are answered BUSY. `done` when none is at the
   * device any more. Ended by `resume` or `replaceDevice`.
   */
  suspend(done: () => void): void {
    if (this.#state === 'open') this.#state = 'suspended';
    this.tasks.interrupt(() => true, done);
  }

  resume(): void {
    if (this.#state === 'suspended') this.#state = 'open';
  }

  /** Registrants are told apart by initiator name, without the ISID. */
  get ignoresIsid(): boolean {
    return this.#ignoresIsid;
  }

  /** Changes that for good, and for those who are registered: see `Reservations.changeIsidRule`. */
  setIgnoresIsid(ignoresIsid: boolean, done: (refusal: IsidRefusal | undefined) => void): void {
    const store = (part: Uint8Array, stored: (isSaved: boolean) => void): void => {
      const parts = new Map([
        [LuStatePart.reservationRule as number, encodeIsidRule(ignoresIsid)],
        [LuStatePart.persistentReservation as number, part],
      ]);
      this.#save(parts, (isSaved) => {
        if (isSaved) this.#ignoresIsid = ignoresIsid;
        stored(isSaved);
      });
    };
    this.reservations.changeIsidRule(ignoresIsid, store, done);
  }

  /** The volume is gone, or unmapped everywhere: commands that come get LOGICAL UNIT NOT SUPPORTED. */
  close(): void {
    this.#state = 'closed';
  }

  /** Forgets what cannot be read, of a unit that no host sees any more. `done` when that is durable, or cannot be. */
  discardState(done: (isDiscarded: boolean) => void): void {
    this.#parts.delete(LuStatePart.persistentReservation);
    this.#device.saveLuState(encodeLuState(this.#parts), (status) => {
      done(status === IoStatus.ok);
    });
  }

  // ---- for this room

  /** A nexus sees the unit from now on. */
  attach(place: NexusLun): void {
    place.attentions.add(SenseCode.powerOnOrReset);
    if (this.#isSpaceLow && !this.#device.isThick)
      place.attentions.add(SenseCode.softThresholdReached);
    this.nexuses.add(place);
  }

  /** A nexus is gone, or no longer sees the unit. */
  detach(place: NexusLun): void {
    this.nexuses.delete(place);
    this.reservations.nexusLost(place.nexus);
  }

  /** A unit attention for every nexus, or every one but `except`. */
  raise(code: SenseCode, except?: NexusLun): void {
    for (const place of this.nexuses) {
      if (place !== except) place.attentions.add(code);
    }
  }

  /** What LOGICAL UNIT RESET and target resets do besides aborting: SAM-5 6.3.3. */
  reset(code: SenseCode): void {
    this.reservations.reset();
    this.modePages.revert();
    this.raise(code);
  }

  saveModePages(part: Uint8Array, done: (isSaved: boolean) => void): void {
    this.#save(new Map([[LuStatePart.modePages, part]]), done);
  }

  saveReservations(part: Uint8Array, done: (isSaved: boolean) => void): void {
    this.#save(new Map([[LuStatePart.persistentReservation, part]]), done);
  }

  abortTasks(place: NexusLun, done: () => void): void {
    this.tasks.abort((command) => command.place === place, { by: undefined, done });
  }

  whenWritesSettle(place: NexusLun, done: () => void): void {
    this.tasks.whenWritesSettle(place, done);
  }

  /** All of `parts` or none. */
  #save(parts: ReadonlyMap<number, Uint8Array>, done: (isSaved: boolean) => void): void {
    // What cannot be read is not written over: `discardState` decides.
    if (this.isStateDamaged) {
      done(false);
      return;
    }
    const before = new Map(this.#parts);
    for (const [kind, part] of parts) this.#parts.set(kind, part);
    this.#device.saveLuState(encodeLuState(this.#parts), (status) => {
      const isSaved = status === IoStatus.ok;
      if (!isSaved) this.#takeBack(parts, before);
      done(isSaved);
    });
  }

  /** Puts back what was not saved, unless somebody set a newer one meanwhile. */
  #takeBack(parts: ReadonlyMap<number, Uint8Array>, before: ReadonlyMap<number, Uint8Array>): void {
    for (const [kind, part] of parts) {
      if (this.#parts.get(kind) !== part) continue;
      const old = before.get(kind);
      if (old === undefined) this.#parts.delete(kind);
      else this.#parts.set(kind, old);
    }
  }
}
