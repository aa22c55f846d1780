/** What the NBD server needs to know of the outside: which devices there are, and how to open one by name. */
import type { BlockDevice } from '../device/block-device.ts';

export interface NbdExportInfo {
  readonly name: string;
  /** One line for people: size, snapshot time, parent. */
  readonly description: string;
}

export interface NbdOpenExport {
  readonly device: BlockDevice;
  /** Canonical name. */
  readonly name: string;
  readonly description: string;
  /** Given back once, when the connection that opened it is gone. */
  close(): void;
}

export interface NbdExports {
  /** Every export that a client may open, sorted by name. */
  list(): readonly NbdExportInfo[];
  /** `done` gets undefined when there is no such export. May run inside the call or later (a snapshot's map takes time). */
  open(name: string, done: (opened: NbdOpenExport | undefined) => void): void;
}
