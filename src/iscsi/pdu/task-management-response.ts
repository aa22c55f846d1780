/** Task Management Function Response, RFC 7143 section 11.6. */
import { u8, u32be } from '../../base/fields.ts';
import { finalBit, Opcode, setTargetNumbers, startHeader, type TargetNumbers } from './header.ts';

/** @internal the layout: tests look at every field */
export const taskManagementResponse = {
  response: u8(2),
  initiatorTaskTag: u32be(16),
} as const;

/** Section 11.6.1. */
export const TaskManagementAnswer = {
  complete: 0,
  taskDoesNotExist: 1,
  lunDoesNotExist: 2,
  reassignmentNotSupported: 4,
  notSupported: 5,
  rejected: 255,
} as const;
export type TaskManagementAnswer = (typeof TaskManagementAnswer)[keyof typeof TaskManagementAnswer];

export interface TaskManagementResponse extends TargetNumbers {
  response: TaskManagementAnswer;
  initiatorTaskTag: number;
}

/** Writes the 48 bytes at `at`. */
export function encodeTaskManagementResponse(
  view: DataView,
  at: number,
  pdu: TaskManagementResponse,
): void {
  startHeader(view, at, Opcode.taskManagementResponse, finalBit);
  setTargetNumbers(view, at, pdu);
  taskManagementResponse.response.set(view, at, pdu.response);
  taskManagementResponse.initiatorTaskTag.set(view, at, pdu.initiatorTaskTag);
}
