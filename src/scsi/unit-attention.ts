/**
 * Unit attentions of one nexus and one logical unit, SAM-5 section 5.14: things that happened and that the initiator is to
 * learn with its next command. Oldest first, each kind once; a reset makes everything before it moot.
 */
import { unitAttentionsMax } from './limits.ts';
import type { SenseCode } from './sense.ts';

/** Power on, bus reset, device reset, nexus loss. */
const resetAsc = 0x29;

export class UnitAttentions {
  readonly #codes: SenseCode[] = [];

  /** Whether a command has to report something first. */
  get isPending(): boolean {
    return this.#codes.length > 0;
  }

  add(code: SenseCode): void {
    if (this.#codes.includes(code)) return;
    if (((code >> 8) & 0xff) === resetAsc) this.#codes.length = 0;
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
