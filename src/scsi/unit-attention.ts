/**
 * Unit attentions of one nexus and one logical unit, SAM-5 section 5.14: things that happened and that the initiator is to
 * learn with its next command. Oldest first, each kind once. A reset comes before everything else, and takes the place of an
 * earlier one; what else happened (capacity, LUNs, reservations, space) is as true after it as before.
 */
import { unitAttentionsMax } from './limits.ts';
import type { SenseCode } from './sense.ts';

/** Power on, bus reset, device reset, nexus loss. */
const resetAsc = 0x29;
/** COMMANDS CLEARED BY ANOTHER INITIATOR: a reset says as much. */
const clearedAsc = 0x2f;

export class UnitAttentions {
  #codes: SenseCode[] = [];

  /** Whether a command has to report something first. */
  get isPending(): boolean {
    return this.#codes.length > 0;
  }

  add(code: SenseCode): void {
    if (ascOf(code) === resetAsc) {
      this.#codes = [code, ...this.#codes.filter((each) => !isMootAfterReset(each))];
      return;
    }
    if (this.#codes.includes(code)) return;
    // The list is bounded by the kinds there are; should it ever be full, the newest is the one that says most.
    if (this.#codes.length === unitAttentionsMax) this.#codes.shift();
    this.#codes.push(code);
  }

  /** The oldest one, which is cleared by this. */
  take(): SenseCode | undefined {
    return this.#codes.shift();
  }

  /** Clears one kind, wherever it stands. */
  drop(code: SenseCode): void {
    const at = this.#codes.indexOf(code);
    if (at >= 0) this.#codes.splice(at, 1);
  }
}

function ascOf(code: SenseCode): number {
  return (code >> 8) & 0xff;
}

function isMootAfterReset(code: SenseCode): boolean {
  return ascOf(code) === resetAsc || ascOf(code) === clearedAsc;
}
