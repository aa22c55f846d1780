/** Memory of the machine, and memory that starts at a page. */
import os from 'node:os';

const webPageBytes = 65_536;

/** The part of WebAssembly's interface that is used here. */
interface MemoryMaker {
  new (limits: {
    initial: number;
    maximum: number;
    shared: true;
  }): {
    readonly buffer: SharedArrayBuffer;
  };
}

/** Zeroed shared memory of at least `bytes` that starts at a page: only WebAssembly's memory does for certain. */
export function alignedMemory(bytes: number): SharedArrayBuffer {
  // Node's own types leave WebAssembly to those of browsers.
  const { Memory } = (globalThis as unknown as { WebAssembly: { Memory: MemoryMaker } })
    .WebAssembly;
  const pages = Math.ceil(bytes / webPageBytes);
  return new Memory({ initial: pages, maximum: pages, shared: true }).buffer;
}

/** Bytes that this process may have at all: the machine's, or what its control group allows. */
export function totalMemoryBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(allowed, os.totalmem()) : os.totalmem();
}

/** Bytes that are free or easily freed. */
export function availableMemoryBytes(): number {
  return process.availableMemory();
}
