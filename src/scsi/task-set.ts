/**
 * Task set of one logical unit (SAM-5 section 8; TST = 000b: one for all nexuses): which commands may run, and how they are
 * aborted.
 *
 *     oldest ◀── a ── b ── ORDERED c ── d ── e ──▶ newest         c waits for a and b; d and e wait for c
 *                                                                 HEAD OF QUEUE waits for nobody
 *
 * SIMPLE commands run at once and in any order (QUEUE ALGORITHM MODIFIER 1): with nothing ORDERED about, entering and
 * leaving is linking and unlinking.
 */
import { AbortKind, type Command, Phase } from './command.ts';
import { execute } from './execute.ts';
import { dormantBytesMax, taskSetMax } from './limits.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { NexusLun } from './nexus.ts';
import { Preload } from './parameters.ts';
import { SenseCode } from './sense.ts';
import { ScsiStatus, TaskAttribute } from './status.ts';

/** Who aborts: the tasks of others end with TASK ABORTED or a unit attention, its own without a word. */
export interface AbortRequest {
  /** undefined: not a nexus with tasks here; all tasks are others'. */
  readonly by: NexusLun | undefined;
  /** Nothing of the aborted commands can be written or answered any more. */
  readonly done: () => void;
}

interface WriteWaiter {
  readonly commands: Set<Command>;
  readonly done: () => void;
}

export class TaskSet {
  readonly #unit: LogicalUnit;
  #oldest: Command | undefined;
  #newest: Command | undefined;
  #count = 0;
  /** ORDERED commands that have not ended: only then order costs anything. */
  #orderedCount = 0;
  #dormantCount = 0;
  #dormantBytes = 0;
  #isAdvancing = false;
  readonly #writeWaiters: WriteWaiter[] = [];

  constructor(unit: LogicalUnit) {
    this.#unit = unit;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a command that has begun: it runs now, waits, or ends. */
  enter(command: Command): void {
    this.#link(command);
    if (this.#unit.isClosed) command.check(SenseCode.logicalUnitNotSupported);
    else if (this.#unit.isSuspended) command.conclude(ScsiStatus.busy);
    else if (this.#count > taskSetMax) command.conclude(ScsiStatus.taskSetFull);
    else if (command.task.attribute === TaskAttribute.aca) command.check(SenseCode.invalidMessage);
    else if (this.#orderedCount > 0 && this.#mustWait(command)) this.#sleep(command);
    else execute(command);
  }

  /** The command ended. */
  leave(command: Command): void {
    if (command.phase === Phase.dormant) this.#countDormant(command);
    this.#unlink(command);
    if (this.#writeWaiters.length > 0) this.ioSettled(command);
  }

  /** Runs what no longer has to wait. */
  advance(): void {
    if (this.#dormantCount === 0 || this.#isAdvancing) return;
    this.#isAdvancing = true;
    let next = this.#nextAwake();
    while (next !== undefined) {
      this.#wake(next);
      next = this.#nextAwake();
    }
    this.#isAdvancing = false;
  }

  /** Ends the commands that `selects` as soon as nothing of them is at the device. */
  abort(selects: (command: Command) => boolean, { by, done }: AbortRequest): void {
    const selected = this.#select(selects);
    let pending = selected.length + 1;
    const over = (): void => {
      pending -= 1;
      if (pending === 0) done();
    };
    const sendsStatus = this.#unit.modePages.sendsTaskAborted;
    for (const { command, serial } of selected) {
      // An earlier one may have taken this one with it.
      if (command.serial !== serial) {
        over();
        continue;
      }
      const isOwn = by !== undefined && command.place.nexus === by.nexus;
      if (!isOwn && !sendsStatus) {
        command.place.attentions.add(SenseCode.commandsClearedByAnotherInitiator);
      }
      command.abort(isOwn || !sendsStatus ? AbortKind.silent : AbortKind.taskAborted, over);
    }
    over();
  }

  /** Ends everything that belongs to `place`, without response. */
  abortSilently(place: NexusLun, done: () => void): void {
    this.abort((command) => command.place === place, { by: place, done });
  }

  /** Answers BUSY to what waits for its initiator; `done` when nothing that `selects` picked runs any more. */
  interrupt(selects: (command: Command) => boolean, done: () => void): void {
    const selected = this.#select(selects);
    let pending = selected.length + 1;
    const over = (): void => {
      pending -= 1;
      if (pending === 0) done();
    };
    for (const { command, serial } of selected) {
      if (command.serial === serial) command.interrupt(over);
      else over();
    }
    over();
  }

  /** `done` once no write of another nexus that is at the device now is there any more. */
  whenWritesSettle(place: NexusLun, done: () => void): void {
    const commands = new Set<Command>();
    for (let at = this.#oldest; at !== undefined; at = at.newer) {
      const isForeign = at.place.nexus !== place.nexus;
      if (isForeign && at.row?.changesMedium === true && at.ioPending > 0) commands.add(at);
    }
    if (commands.size === 0) done();
    else this.#writeWaiters.push({ commands, done });
  }

  get hasWriteWaiters(): boolean {
    return this.#writeWaiters.length > 0;
  }

  /** The command has nothing at the device any more. */
  ioSettled(command: Command): void {
    const over = this.#writeWaiters.filter(
      ({ commands }) => commands.delete(command) && commands.size === 0,
    );
    for (const waiter of over) {
      this.#writeWaiters.splice(this.#writeWaiters.indexOf(waiter), 1);
      waiter.done();
    }
  }

  // ---- order

  /** Whether something older that has not ended keeps the command from running. */
  #mustWait(command: Command): boolean {
    const { attribute } = command.task;
    if (attribute === TaskAttribute.headOfQueue) return false;
    if (attribute === TaskAttribute.ordered) return command.older !== undefined;
    for (let at = command.older; at !== undefined; at = at.older) {
      if (at.task.attribute === TaskAttribute.ordered) return true;
    }
    return false;
  }

  #sleep(command: Command): void {
    const { dataOutBytes } = command.task;
    if (this.#dormantBytes + dataOutBytes > dormantBytesMax) {
      command.conclude(ScsiStatus.taskSetFull);
      return;
    }
    this.#dormantCount += 1;
    this.#dormantBytes += dataOutBytes;
    command.sleep(dataOutBytes > 0 ? new Preload(dataOutBytes) : undefined);
  }

  #nextAwake(): Command | undefined {
    let hasOlder = false;
    for (let at = this.#oldest; at !== undefined; at = at.newer) {
      const isOrdered = at.task.attribute === TaskAttribute.ordered;
      const isDormant = at.phase === Phase.dormant;
      if (isDormant && (!isOrdered || !hasOlder) && isComplete(at)) return at;
      // Nothing behind an ORDERED command may run before it.
      if (isOrdered) return undefined;
      hasOlder = true;
    }
    return undefined;
  }

  #wake(command: Command): void {
    if (command.mover instanceof Preload) command.preloaded = command.mover.data;
    this.#countDormant(command);
    execute(command);
  }

  #countDormant(command: Command): void {
    this.#dormantCount -= 1;
    this.#dormantBytes -= command.task.dataOutBytes;
    command.phase = Phase.running;
  }

  // ---- list

  #select(selects: (command: Command) => boolean): { command: Command; serial: number }[] {
    const selected: { command: Command; serial: number }[] = [];
    for (let at = this.#oldest; at !== undefined; at = at.newer) {
      if (selects(at)) selected.push({ command: at, serial: at.serial });
    }
    return selected;
  }

  #link(command: Command): void {
    command.older = this.#newest;
    command.newer = undefined;
    if (this.#newest === undefined) this.#oldest = command;
    else this.#newest.newer = command;
    this.#newest = command;
    this.#count += 1;
    if (command.task.attribute === TaskAttribute.ordered) this.#orderedCount += 1;
  }

  #unlink(command: Command): void {
    const { older, newer } = command;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    command.older = undefined;
    command.newer = undefined;
    this.#count -= 1;
    if (command.task.attribute === TaskAttribute.ordered) this.#orderedCount -= 1;
  }
}

function isComplete(command: Command): boolean {
  return !(command.mover instanceof Preload) || command.mover.isComplete;
}
