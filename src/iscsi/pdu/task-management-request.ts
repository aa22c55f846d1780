/** Task Management Function Request, RFC 7143 section 11.5. */
import { u8, u32be } from '../../base/fields.ts';
import { isImmediate } from './header.ts';
import { decodeLun } from './lun.ts';

/** @internal the layout: tests look at every field */
export const taskManagementRequest = {
  function: u8(1),
  initiatorTaskTag: u32be(16),
  referencedTaskTag: u32be(20),
  cmdSn: u32be(24),
  expStatSn: u32be(28),
  refCmdSn: u32be(32),
} as const;

const functionMask = 0x7f;

/** Section 11.5.1. */
export const TaskManagementFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
} as const;
export type TaskManagementFunction =
  (typeof TaskManagementFunction)[keyof typeof TaskManagementFunction];

export interface TaskManagementRequest {
  readonly isImmediate: boolean;
  /** Any value: unknown ones get "not supported". */
  readonly function: number;
  /** -1 = names nothing. */
  readonly lun: number;
  readonly initiatorTaskTag: number;
  readonly referencedTaskTag: number;
  readonly cmdSn: number;
  readonly expStatSn: number;
  /** CmdSN of the task to abort. */
  readonly refCmdSn: number;
}

/** Decodes the header at `at`. */
export function decodeTaskManagementRequest(view: DataView, at: number): TaskManagementRequest {
  return {
    isImmediate: isImmediate(view, at),
    function: taskManagementRequest.function.get(view, at) & functionMask,
    lun: decodeLun(view, at),
    initiatorTaskTag: taskManagementRequest.initiatorTaskTag.get(view, at),
    referencedTaskTag: taskManagementRequest.referencedTaskTag.get(view, at),
    cmdSn: taskManagementRequest.cmdSn.get(view, at),
    expStatSn: taskManagementRequest.expStatSn.get(view, at),
    refCmdSn: taskManagementRequest.refCmdSn.get(view, at),
  };
}
