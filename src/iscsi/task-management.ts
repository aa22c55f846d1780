/**
 * Task management: ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET WARM RESET. RFC 7143 sections
 * 11.5, 11.6 and 4.2.3; the rules for commands that were never received are those of 11.5.5.
 *
 * Invariants
 * 1. The answer leaves when nothing of an affected task can be written any more; nothing of it is answered afterwards.
 * 2. ABORT TASK of a command that is finished answers "function complete": initiators take "task does not exist" for a
 *    target that lost its mind, and reset it.
 */
import { present } from '../base/assert.ts';
import type { Commands } from './commands.ts';
import type { HeldPdus } from './held-pdus.ts';
import type { IscsiTask } from './iscsi-task.ts';
import type { Lane } from './lane.ts';
import { Opcode, opcodeOf } from './pdu/header.ts';
import { decodeLun } from './pdu/lun.ts';
import {
  TaskManagementFunction,
  type TaskManagementRequest,
} from './pdu/task-management-request.ts';
import { TaskManagementAnswer } from './pdu/task-management-response.ts';
import { isSerialBefore } from './serial-number.ts';
import { managementMax } from './server-limits.ts';

const manageByFunction = new Map([
  [TaskManagementFunction.abortTaskSet, 'abortTaskSet'],
  [TaskManagementFunction.clearTaskSet, 'clearTaskSet'],
  [TaskManagementFunction.logicalUnitReset, 'lunReset'],
  [TaskManagementFunction.targetWarmReset, 'targetWarmReset'],
] as const);

export class TaskManagement {
  readonly #lane: Lane;
  readonly #commands: Commands;
  readonly #held: HeldPdus;
  readonly #onVoided: () => void;
  #isClosed = false;
  /** Functions that were not answered yet. */
  pendingCount = 0;

  /** `onVoided`: numbers of `held` count as arrived now. */
  constructor(lane: Lane, commands: Commands, held: HeldPdus, onVoided: () => void) {
    this.#lane = lane;
    this.#commands = commands;
    this.#held = held;
    this.#onVoided = onVoided;
  }

  close(): void {
    this.#isClosed = true;
  }

  onRequest(request: TaskManagementRequest): void {
    this.pendingCount += 1;
    if (this.pendingCount > managementMax) {
      this.#answer(request, TaskManagementAnswer.rejected);
      return;
    }
    if (request.function === TaskManagementFunction.abortTask) {
      this.#abortTask(request);
      return;
    }
    if (request.function === TaskManagementFunction.taskReassign) {
      this.#answer(request, TaskManagementAnswer.reassignmentNotSupported);
      return;
    }
    this.#manage(request);
  }

  #answer(request: TaskManagementRequest, answer: TaskManagementAnswer): void {
    this.pendingCount -= 1;
    if (!this.#isClosed) this.#lane.responses.taskManagement(request.initiatorTaskTag, answer);
  }

  // ---- one task

  #abortTask(request: TaskManagementRequest): void {
    const task = this.#commands.find(request.referencedTaskTag);
    if (task !== undefined) {
      this.#abort(task, () => {
        this.#answer(request, TaskManagementAnswer.complete);
      });
      return;
    }
    const { numbers } = this.#lane;
    const { refCmdSn, cmdSn } = request;
    if (this.#held.voidTag(request.referencedTaskTag)) {
      this.#onVoided();
    } else if (numbers.isInWindow(refCmdSn)) {
      // Not received: it counts as received when the function was sent after it, else it was never sent.
      if (!isSerialBefore(refCmdSn, cmdSn)) {
        this.#answer(request, TaskManagementAnswer.taskDoesNotExist);
        return;
      }
      if (!this.#held.has(refCmdSn)) this.#held.void(refCmdSn);
      this.#onVoided();
    } else if (!isSerialBefore(refCmdSn, numbers.expCmdSn)) {
      this.#answer(request, TaskManagementAnswer.taskDoesNotExist);
      return;
    }
    this.#answer(request, TaskManagementAnswer.complete);
  }

  #abort(task: IscsiTask, done: () => void): void {
    const isWithScsi = !task.isDone;
    this.#commands.silence(task);
    if (isWithScsi) this.#lane.target.abortTask(task.scsi, done);
    else done();
  }

  // ---- sets of tasks

  #manage(request: TaskManagementRequest): void {
    const name = manageByFunction.get(request.function as never);
    if (name === undefined) {
      this.#answer(request, TaskManagementAnswer.notSupported);
      return;
    }
    const isForAll = request.function === TaskManagementFunction.targetWarmReset;
    this.#held.voidAll((cmdSn, header) => {
      const view = new DataView(header.buffer, header.byteOffset, header.length);
      // Only commands, and only those that were sent before: a ping that is held is answered, a later write is done.
      const isEarlier = isSerialBefore(cmdSn, request.cmdSn);
      const isCommand = opcodeOf(view, 0) === Opcode.scsiCommand;
      return isCommand && isEarlier && (isForAll || decodeLun(view, 0) === request.lun);
    });
    // Commands that SCSI has finished with wait only for data of the initiator: they are gone, too.
    for (const task of this.#commands.all()) {
      const isAffected = isForAll || task.request.lun === request.lun;
      if (isAffected && (task.isDone || task.isAborting)) this.#commands.silence(task);
    }
    const nexus = present(this.#lane.nexus, 'nexus of a session with tasks');
    this.#lane.target.manage(name, nexus, request.lun, (outcome) => {
      this.#answer(request, TaskManagementAnswer[outcome]);
    });
    this.#onVoided();
  }
}
