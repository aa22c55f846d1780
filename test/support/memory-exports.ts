/** Exports over memory devices: what the engine's volumes are in production. */
import type { NbdExportInfo, NbdExports, NbdOpenExport } from '../../src/nbd/exports.ts';
import type { MemoryDevice } from './memory-device.ts';

export class MemoryExports implements NbdExports {
  readonly devices = new Map<string, MemoryDevice>();
  /** Names of exports that are open now, once per connection. */
  readonly #openNames: string[] = [];
  /** Set to delay opening until it is called. */
  heldOpens: (() => void)[] | undefined;

  get openCount(): number {
    return this.#openNames.length;
  }

  openCountOf(name: string): number {
    return this.#openNames.filter((open) => open === name).length;
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
    this.#openNames.push(name);
    let isClosed = false;
    return {
      device,
      name,
      description: describe(name),
      close: () => {
        if (isClosed) throw new Error('an export was given back twice');
        isClosed = true;
        this.#openNames.splice(this.#openNames.indexOf(name), 1);
      },
    };
  }
}

function describe(name: string): string {
  return `memory device ${name}`;
}
