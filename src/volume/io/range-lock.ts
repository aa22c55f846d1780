/**
 * Range lock of a line, in 4 KiB blocks. Whole-block writes enter as shared: they only wait for exclusive holders, never
 * for each other (publication in log order makes overlapping ones right). Whoever must read before it writes (sub-block
 * writes, COMPARE AND WRITE, ORWRITE, CLONE) enters exclusively: it waits for everything in flight on its range, and holds
 * the range until it is published. Who needs two ranges of one line (CLONE within it) enters both as one entry; who needs
 * ranges of several lines enters the lines in order of their ids. So nobody who waits in a line is waited for there.
 *
 *     active: shared [0,8) · shared [4,6) · exclusive [10,11)
 *     waiting (first come, first served): exclusive [5,6)   shared [5,7) waits behind it
 *
 * Invariants
 * 1. No two overlapping entries are active when one of them is exclusive.
 * 2. An entry never overtakes a waiting one that it conflicts with.
 */
import { assert } from '../../base/assert.ts';

export class LockEntry {
  /** First block and first block behind. */
  start = 0;
  end = 0;
  /** Second range, empty for most. */
  otherStart = 0;
  otherEnd = 0;
  isExclusive = false;
  /** Runs when a waiting entry becomes active. */
  onGranted: () => void = unset;
  previous: LockEntry | undefined = undefined;
  next: LockEntry | undefined = undefined;
}

function unset(): void {
  assert(false, 'lock entry without owner');
}

function conflicts(left: LockEntry, right: LockEntry): boolean {
  if (!left.isExclusive && !right.isExclusive) return false;
  if (left.start < right.end && right.start < left.end) return true;
  return (left.otherEnd > 0 || right.otherEnd > 0) && conflictsOtherwise(left, right);
}

/** Whether two ranges have a block in common; empty ones have none. */
function meets(start: number, end: number, from: number, to: number): boolean {
  return Math.max(start, from) < Math.min(end, to);
}

/** Whether a second range meets a range. */
function conflictsOtherwise(left: LockEntry, right: LockEntry): boolean {
  return (
    meets(left.otherStart, left.otherEnd, right.start, right.end) ||
    meets(left.start, left.end, right.otherStart, right.otherEnd) ||
    meets(left.otherStart, left.otherEnd, right.otherStart, right.otherEnd)
  );
}

export class RangeLock {
  /** Active entries, newest first. */
  #active: LockEntry | undefined;
  readonly #waiting: LockEntry[] = [];
  /** Exclusive entries, active or waiting: zero is the fast path. */
  #exclusiveCount = 0;

  /** Makes `entry` active and answers true, or queues it and answers false (`onGranted` runs later). */
  enter(entry: LockEntry): boolean {
    if (entry.isExclusive) this.#exclusiveCount += 1;
    if (this.#exclusiveCount > 0 && this.#mustWait(entry, this.#waiting.length)) {
      this.#waiting.push(entry);
      return false;
    }
    this.#activate(entry);
    return true;
  }

  leave(entry: LockEntry): void {
    if (entry.previous === undefined) this.#active = entry.next;
    else entry.previous.next = entry.next;
    if (entry.next !== undefined) entry.next.previous = entry.previous;
    entry.previous = undefined;
    entry.next = undefined;
    if (entry.isExclusive) this.#exclusiveCount -= 1;
    if (this.#waiting.length > 0) this.#grant();
  }

  #activate(entry: LockEntry): void {
    entry.previous = undefined;
    entry.next = this.#active;
    if (this.#active !== undefined) this.#active.previous = entry;
    this.#active = entry;
  }

  #mustWait(entry: LockEntry, waitingBefore: number): boolean {
    for (let index = 0; index < waitingBefore; index += 1) {
      const waiting = this.#waiting[index];
      if (waiting !== undefined && conflicts(entry, waiting)) return true;
    }
    for (let active = this.#active; active !== undefined; active = active.next) {
      if (conflicts(entry, active)) return true;
    }
    return false;
  }

  #grant(): void {
    const granted: LockEntry[] = [];
    let index = 0;
    while (index < this.#waiting.length) {
      const entry = this.#waiting[index];
      if (entry !== undefined && !this.#mustWait(entry, index)) {
        this.#waiting.splice(index, 1);
        this.#activate(entry);
        granted.push(entry);
      } else {
        index += 1;
      }
    }
    for (const entry of granted) entry.onGranted();
  }
}
