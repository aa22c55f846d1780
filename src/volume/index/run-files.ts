/** Files of runs that are open for reading: a bounded number, but for those that are being read. */
import type { Disk, DiskFile } from '../../base/ports.ts';
import type { RunPlace } from './run-format.ts';
import { runName, runPath } from './run-path.ts';

export interface OpenRun {
  readonly file: DiskFile;
  /** Reads under way: not closed before they are over. */
  users: number;
  isDropped: boolean;
}

export class RunFiles {
  readonly #disk: Disk;
  readonly #countMax: number;
  /** By name; in order of opening. */
  readonly #open = new Map<string, OpenRun>();

  constructor(disk: Disk, countMax: number) {
    this.#disk = disk;
    this.#countMax = countMax;
  }

  /** Give it back with `release`. Throws DiskError. */
  acquire(place: RunPlace): OpenRun {
    const name = runName(place);
    let open = this.#open.get(name);
    if (open === undefined) {
      const file = this.#disk.open(runPath(place), { create: false });
      open = { file, users: 0, isDropped: false };
      this.#open.set(name, open);
      this.#dropOldest(name);
    }
    open.users += 1;
    return open;
  }

  release(open: OpenRun): void {
    open.users -= 1;
    if (open.users === 0 && open.isDropped) open.file.close();
  }

  #dropOldest(but: string): void {
    if (this.#open.size <= this.#countMax) return;
    for (const name of this.#open.keys()) {
      if (name === but) continue;
      this.#drop(name);
      return;
    }
  }

  /** Another file has the name, or none. */
  forget(place: RunPlace): void {
    this.#drop(runName(place));
  }

  close(): void {
    for (const name of this.#open.keys()) this.#drop(name);
  }

  #drop(name: string): void {
    const open = this.#open.get(name);
    if (open === undefined) return;
    this.#open.delete(name);
    open.isDropped = true;
    if (open.users === 0) open.file.close();
  }
}
