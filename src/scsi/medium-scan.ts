/**
 * Reads a range of the medium piece by piece and looks at it, for commands whose data does not travel:
 *
 *     readable   VERIFY without data: every block can be read
 *     pattern    VERIFY with BYTCHK 11b: every block equals one block that was sent
 *     prefetch   PRE-FETCH: read into the system's cache, whatever comes of it
 */
import { IoKind, IoStatus } from '../device/block-device.ts';
import type { Command } from './command.ts';
import { firstDifference } from './compare.ts';
import { miscompare } from './failure.ts';
import { logicalBlockBytes, scanBytesPerTurn, scratchBytes } from './limits.ts';
import { Mover } from './mover.ts';
import type { Part } from './part.ts';
import { SenseCode } from './sense.ts';
import { ScsiStatus } from './status.ts';

export type ScanPurpose =
  | { readonly kind: 'readable' }
  | { readonly kind: 'pattern'; readonly block: Uint8Array }
  | { readonly kind: 'prefetch' };

export class MediumScan extends Mover {
  readonly #length: number;
  readonly #purpose: ScanPurpose;
  #at = 0;
  #scratch: Uint8Array | undefined;
  #isWaiting = false;
  #turnBytes = 0;

  /** `length` bytes from `command.offset` on. */
  constructor(length: number, purpose: ScanPurpose) {
    super();
    this.#length = length;
    this.#purpose = purpose;
  }

  override settled(command: Command): void {
    if (this.#at === this.#length) {
      const isPrefetch = this.#purpose.kind === 'prefetch';
      command.conclude(isPrefetch ? ScsiStatus.conditionMet : ScsiStatus.good);
      return;
    }
    if (command.isAborting || this.#isWaiting) return;
    const { scratch, parts } = command.services;
    this.#scratch ??= scratch.take();
    if (this.#scratch === undefined) {
      this.#isWaiting = true;
      scratch.wait(command);
      return;
    }
    if (this.#turnBytes >= scanBytesPerTurn) {
      this.#turnBytes = 0;
      command.pause();
      return;
    }
    const length = Math.min(scratchBytes, this.#length - this.#at);
    this.#turnBytes += length;
    const part = parts.take(command);
    const { io } = part;
    io.kind = IoKind.read;
    io.offset = command.offset + this.#at;
    io.length = length;
    io.target = this.#scratch.subarray(0, length);
    command.submit(part);
  }

  override partDone(command: Command, part: Part): void {
    const { io } = part;
    if (io.status === IoStatus.ok) this.#look(command, part);
    else if (this.#purpose.kind !== 'prefetch') command.noteFailure(io);
    this.#at += io.length;
    command.services.parts.give(part);
  }

  override retry(command: Command): boolean {
    this.#scratch = command.services.scratch.takeForWaiter();
    if (this.#scratch === undefined) return false;
    this.#isWaiting = false;
    // Not inside the command that gave the buffer back.
    command.pause();
    return true;
  }

  override cleanup(command: Command): void {
    const { scratch } = command.services;
    if (this.#isWaiting) scratch.leave(command);
    if (this.#scratch !== undefined) scratch.give(this.#scratch);
    this.#scratch = undefined;
  }

  #look(command: Command, { io }: Part): void {
    const purpose = this.#purpose;
    if (purpose.kind !== 'pattern' || io.target === undefined) return;
    if (io.isHole) io.target.fill(0);
    for (let at = 0; at < io.length; at += logicalBlockBytes) {
      const block = io.target.subarray(at, at + logicalBlockBytes);
      const difference = firstDifference(block, purpose.block, logicalBlockBytes);
      if (difference < 0) continue;
      const { status, detail } = miscompare(difference);
      command.fail(status, SenseCode.miscompareDuringVerify, detail);
      return;
    }
  }
}
