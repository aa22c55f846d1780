/** Words that transport and server share about a task. */
import type { Task } from './task.ts';

/** SAM-5 table 26. */
export const ScsiStatus = {
  good: 0x00,
  checkCondition: 0x02,
  conditionMet: 0x04,
  busy: 0x08,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
  acaActive: 0x30,
  taskAborted: 0x40,
} as const;
export type ScsiStatus = (typeof ScsiStatus)[keyof typeof ScsiStatus];

export const TaskAttribute = {
  simple: 0,
  ordered: 1,
  headOfQueue: 2,
  aca: 3,
  untagged: 4,
} as const;
export type TaskAttribute = (typeof TaskAttribute)[keyof typeof TaskAttribute];

/** `at` is what was given to `read`. After `isOk` false no further read may be started: `onDone` follows. */
export type ReadDone = (task: Task, isOk: boolean, at: number) => void;
