/**
 * ScsiTarget: the door of the SCSI room, one per engine. Transports open a nexus per session and submit tasks; the engine says
 * who sees which logical unit.
 *
 *     transport ── openNexus, submit, abortTask, manage, closeNexus ──▶ ScsiTarget ──▶ LogicalUnit ──▶ device
 *     engine ───── LunMap, lunsChanged ──────────────────────────────────▲
 *
 * Invariants
 * 1. A command runs against what its nexus was told: a changed map takes effect with `lunsChanged`, which raises REPORTED LUNS
 *    DATA HAS CHANGED.
 * 2. When `closeNexus`, `abortTask` or `manage` calls `done`, nothing of the commands concerned can be written or answered.
 */
import { present } from '../base/assert.ts';
import type { Clock, Timers } from '../base/ports.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import { Claims } from './claims.ts';
import { AbortKind, type Command } from './command.ts';
import { commandSet } from './command-set.ts';
import { CommandTable } from './command-table.ts';
import { CopyDesk } from './copy-desk.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { Nexus, type NexusIdentity, NexusLun } from './nexus.ts';
import { PartPool } from './part.ts';
import { ScratchPool } from './scratch.ts';
import { SenseCode } from './sense.ts';
import type { Services } from './services.ts';
import type { TargetGroups } from './target-groups.ts';
import type { Task } from './task.ts';
import { answerUnmapped } from './unmapped.ts';

export interface MappedLun {
  readonly unit: LogicalUnit;
  readonly isReadOnly: boolean;
}

/** Who sees what; the engine knows. */
export interface LunMap {
  /** What that initiator sees through that target, by LUN. Asked when a nexus opens and after `lunsChanged`. */
  luns(initiatorName: string, targetName: string): ReadonlyMap<number, MappedLun>;
}

export interface ScsiTargetOptions {
  readonly lunMap: LunMap;
  readonly staging: StagingDoor;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly targetGroups: TargetGroups;
}

/** Task management functions, SAM-5 section 7, that concern more than one task. */
export type ManagementFunction = 'abortTaskSet' | 'clearTaskSet' | 'lunReset' | 'targetWarmReset';
export type ManagementOutcome = 'complete' | 'lunDoesNotExist';

export class ScsiTarget {
  readonly #services: Services;
  readonly #nexuses = new Set<Nexus>();

  constructor(options: ScsiTargetOptions) {
    this.#services = {
      ...options,
      parts: new PartPool(),
      scratch: new ScratchPool(),
      table: new CommandTable(commandSet),
      copies: new CopyDesk(options.clock),
      claims: new Claims(),
    };
    options.targetGroups.watch(() => {
      for (const nexus of this.#nexuses) {
        for (const place of nexus.luns.values()) {
          place.attentions.add(SenseCode.asymmetricStateChanged);
        }
      }
    });
  }

  /** Somebody waits for memory that data of initiators lies in: staging, of whatever front end, or buffers of VERIFY. */
  get isStagingCrowded(): boolean {
    const { staging, scratch } = this.#services;
    return staging.isCrowded || scratch.isCrowded;
  }

  /** A session begins: every logical unit has POWER ON OR RESET to tell it. */
  openNexus(identity: NexusIdentity): Nexus {
    const nexus = new Nexus(identity);
    this.#nexuses.add(nexus);
    this.#map(nexus);
    return nexus;
  }

  /** The session is over: its tasks end without response, then `done`; `onDone` of each comes before. */
  closeNexus(nexus: Nexus, done: () => void): void {
    nexus.isClosed = true;
    this.#nexuses.delete(nexus);
    const places = [...nexus.luns.values(), ...nexus.leaving];
    let pending = places.length + 1;
    const over = (): void => {
      pending -= 1;
      if (pending === 0) done();
    };
    for (const place of places) {
      place.unit.tasks.abortSilently(place, () => {
        place.unit.detach(place);
        over();
      });
    }
    over();
  }

  /** Runs a task; all answers come through its owner, perhaps inside this call. */
  submit(task: Task): void {
    const nexus = present(task.nexus, 'nexus of a task');
    const place = nexus.luns.get(task.lun);
    const { command } = task;
    command.begin(this.#services, nexus, place);
    if (nexus.isClosed) command.abort(AbortKind.silent);
    else if (place === undefined) answerUnmapped(command);
    else place.unit.tasks.enter(command);
  }

  /** ABORT TASK: the task ends without response, then `done`. A task that is over already is fine. */
  abortTask(task: Task, done: () => void): void {
    if (task.command.isActive) task.command.abort(AbortKind.silent, done);
    else done();
  }

  /** The other task management functions; TARGET WARM RESET resets what the nexus sees. */
  manage(
    fn: ManagementFunction,
    nexus: Nexus,
    lun: number,
    done: (outcome: ManagementOutcome) => void,
  ): void {
    const complete = (): void => {
      done('complete');
    };
    if (fn === 'targetWarmReset') {
      this.#resetAll(nexus, complete);
      return;
    }
    const place = nexus.luns.get(lun);
    if (place === undefined) {
      done('lunDoesNotExist');
      return;
    }
    if (fn === 'lunReset') this.#reset(place, SenseCode.busDeviceReset, complete);
    else place.unit.tasks.abort(selector(fn, place), { by: place, done: complete });
  }

  /** The map says something else now, for one initiator or (undefined) for all. */
  lunsChanged(initiatorName: string | undefined): void {
    for (const nexus of this.#nexuses) {
      if (initiatorName !== undefined && nexus.initiatorName !== initiatorName) continue;
      const before = nexus.luns;
      this.#map(nexus);
      for (const place of nexus.luns.values()) {
        if (before.get(place.lun) === place) place.attentions.add(SenseCode.reportedLunsChanged);
      }
    }
  }

  /** Takes over the map for one nexus; what it saw before under the same LUN stays as it is. */
  #map(nexus: Nexus): void {
    const mapped = this.#services.lunMap.luns(nexus.initiatorName, nexus.targetName);
    const luns = new Map<number, NexusLun>();
    const ascending = [...mapped].sort(([left], [right]) => left - right);
    for (const [lun, { unit, isReadOnly }] of ascending) {
      const known = nexus.luns.get(lun);
      if (known?.unit === unit) {
        if (known.isReadOnly !== isReadOnly) known.attentions.add(SenseCode.modeParametersChanged);
        known.isReadOnly = isReadOnly;
        luns.set(lun, known);
      } else {
        const place = new NexusLun(nexus, lun, unit, isReadOnly);
        unit.attach(place);
        // Another disk under a number that the host knows: it must look at its identity before it trusts its blocks.
        if (known !== undefined) place.attentions.add(SenseCode.inquiryDataChanged);
        luns.set(lun, place);
      }
    }
    for (const [lun, place] of nexus.luns) {
      if (luns.get(lun) !== place) leave(nexus, place);
    }
    nexus.luns = luns;
  }

  #resetAll(nexus: Nexus, done: () => void): void {
    const places = [...nexus.luns.values()];
    let pending = places.length + 1;
    const over = (): void => {
      pending -= 1;
      if (pending === 0) done();
    };
    for (const place of places) this.#reset(place, SenseCode.scsiBusReset, over);
    over();
  }

  #reset(place: NexusLun, code: SenseCode, done: () => void): void {
    const { unit } = place;
    unit.tasks.abort(() => true, {
      by: place,
      done: () => {
        unit.reset(code);
        done();
      },
    });
  }
}

/** The place is not mapped any more: its commands that wait for the initiator end, the others come to their end. */
function leave(nexus: Nexus, place: NexusLun): void {
  nexus.leaving.add(place);
  place.unit.detach(place);
  const { tasks } = place.unit;
  tasks.interrupt(
    (command) => command.place === place,
    () => {
      nexus.leaving.delete(place);
    },
  );
}

function selector(fn: ManagementFunction, place: NexusLun): (command: Command) => boolean {
  // TST is 000b: CLEAR TASK SET clears what all nexuses have in the one task set.
  if (fn === 'clearTaskSet') return () => true;
  return (command) => command.place.nexus === place.nexus;
}
