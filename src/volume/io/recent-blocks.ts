/**
 * Blocks that atomic operations wrote last, by address. A hypervisor's lock is compared again and again, each time with what
 * was written the time before, and the log goes past the page cache: without this every comparison would read the disk.
 *
 *     ring of slots   [ addr 7 | addr 9 | addr 12 |  ...  ]   the oldest is overwritten first
 *
 * An address never holds anything else than what was written there, so nothing here can be out of date.
 */
import { slotSizeBytes } from '../format/address.ts';

export class RecentBlocks {
  readonly #bytes: Uint8Array;
  readonly #addresses: Float64Array;
  readonly #slotByAddress = new Map<number, number>();
  #next = 0;

  constructor(blockCount: number) {
    this.#bytes = new Uint8Array(blockCount * slotSizeBytes);
    this.#addresses = new Float64Array(blockCount);
  }

  /** Copies the block that was written at `address`. */
  put(address: number, block: Uint8Array): void {
    const slot = this.#next;
    this.#next = (slot + 1) % this.#addresses.length;
    this.#slotByAddress.delete(this.#addresses[slot] ?? 0);
    this.#addresses[slot] = address;
    this.#slotByAddress.set(address, slot);
    this.#bytes.set(block, slot * slotSizeBytes);
  }

  /** Copies the block at `address` into `target`; false when it is not here. */
  copy(address: number, target: Uint8Array): boolean {
    const slot = this.#slotByAddress.get(address);
    if (slot === undefined) return false;
    target.set(this.#bytes.subarray(slot * slotSizeBytes, (slot + 1) * slotSizeBytes));
    return true;
  }
}
