/** Exports over memory devices: what the engine's volumes are in production. */
import type {
  NbdDirtyBitmap,
  NbdExportInfo,
  NbdExports,
  NbdOpenExport,
} from '../../src/nbd/exports.ts';
import type { MemoryDevice } from './memory-device.ts';

export class MemoryExports implements NbdExports {
  readonly devices = new Map<string, MemoryDevice>();
  /** What changed in an export, by its name. */
  readonly bitmaps = new Map<string, NbdDirtyBitmap>();
  /** What is open now, one per connection. */
  readonly #openExports = new Set<NbdOpenExport>();
  /** Set to delay opening until it is called. */
  heldOpens: (() => void)[] | undefined;

  get openCount(): number {
    return this.#openExports.size;
  }

  openCountOf(name: string): number {
    return this.openedAs(name).length;
  }

  openedAs(name: string): NbdOpenExport[] {
    return [...this.#openExports].filter((open) => open.name === name);
  }

  add(device: MemoryDevice): MemoryDevice {
    this.devices.set(device.name, device);
    return device;
  }

  list(): readonly NbdExportInfo[] {
    return [...this.devices.keys()].sort().map((name) => ({ name, description: describe(name) }));
  }

  open(name: string, done: (opened: NbdOpenExport | undefined) => void): void {
    const answer = (): void => {
      done(this.#open(name));
    };
    if (this.heldOpens === undefined) answer();
    else this.heldOpens.push(answer);
  }

  #open(name: string): NbdOpenExport | undefined {
    const device = this.devices.get(name);
    if (device === undefined) return undefined;
    const dirtyBitmap = this.bitmaps.get(name);
    const opened: NbdOpenExport = {
      device,
      ...(dirtyBitmap === undefined ? {} : { dirtyBitmap }),
      name,
      description: describe(name),
      close: () => {
        if (!this.#openExports.delete(opened)) throw new Error('an export was given back twice');
      },
    };
    this.#openExports.add(opened);
    return opened;
  }
}

function describe(name: string): string {
  return `memory device ${name}`;
}
