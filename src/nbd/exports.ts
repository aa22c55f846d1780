/** What the NBD server needs to know of the outside: which devices there are, and how to open one by name. */
import type { BlockDevice } from '../device/block-device.ts';

export interface NbdExportInfo {
  readonly name: string;
  /** One line for people: size, snapshot time, parent. */
  readonly description: string;
}

/** A run of bytes that changed or did not. */
export interface NbdChangeRun {
  readonly length: number;
  readonly isChanged: boolean;
}

/** What changed in a read-only export since another moment: backup tools read it as a `qemu:dirty-bitmap`. */
export interface NbdDirtyBitmap {
  /** What follows "qemu:dirty-bitmap:"; letters, digits, dots, underscores and hyphens. */
  readonly name: string;
  /**
   * Runs of bytes that changed or did not, from `offset` on, neighbours joined: at most `runsMax`, which cover at most
   * `length` bytes, often fewer; at least one when `offset` lies inside. Boundaries are multiples of 4096 or the end.
   * `done` may run inside the call or later.
   */
  runs(
    range: { readonly offset: number; readonly length: number },
    runsMax: number,
    done: (runs: readonly NbdChangeRun[]) => void,
  ): void;
}

export interface NbdOpenExport {
  readonly device: BlockDevice;
  /** Absent: nothing is told about changes. */
  readonly dirtyBitmap?: NbdDirtyBitmap;
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
