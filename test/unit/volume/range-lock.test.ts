import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LockEntry, RangeLock } from '../../../src/volume/io/range-lock.ts';

const blocks = 12;

interface Wanted {
  readonly start: number;
  readonly length: number;
  readonly other: { readonly start: number; readonly length: number } | undefined;
  readonly isExclusive: boolean;
}

const range = fc.record({
  start: fc.nat(blocks - 1),
  length: fc.integer({ min: 1, max: 4 }),
});

const wanted: fc.Arbitrary<Wanted> = fc.record({
  start: fc.nat(blocks - 1),
  length: fc.integer({ min: 1, max: 4 }),
  other: fc.option(range, { nil: undefined, freq: 2 }),
  isExclusive: fc.boolean(),
});

/** An entry of the lock, and the blocks that it covers. */
class Holder extends LockEntry {
  readonly covers: ReadonlySet<number>;
  isActive = false;

  constructor(options: Wanted, onActive: (holder: Holder) => void) {
    super();
    const { start, length, other } = options;
    this.start = start;
    this.end = start + length;
    this.isExclusive = options.isExclusive;
    const covered = Array.from({ length }, (_, index) => start + index);
    if (other !== undefined) {
      this.otherStart = other.start;
      this.otherEnd = other.start + other.length;
      covered.push(...Array.from({ length: other.length }, (_, index) => other.start + index));
    }
    this.covers = new Set(covered);
    this.onGranted = () => {
      this.isActive = true;
      onActive(this);
    };
  }

  conflictsWith(other: Holder): boolean {
    return (this.isExclusive || other.isExclusive) && !this.covers.isDisjointFrom(other.covers);
  }
}

describe('range lock', () => {
  it('keeps apart what conflicts, lets in everything else, and lets nobody be overtaken', () => {
    const program = fc.array(fc.oneof(wanted, fc.nat(20)), { maxLength: 40 });
    fc.assert(
      fc.property(program, (steps) => {
        const lock = new RangeLock();
        /** Active and waiting, in order of arrival. */
        const holders: Holder[] = [];
        const check = (): void => {
          for (const [index, holder] of holders.entries()) {
            const before = holders.slice(0, index);
            const mustWait = before.some((other) => holder.conflictsWith(other));
            expect(holder.isActive).toBe(!mustWait);
          }
        };
        const leave = (which: number): void => {
          const active = holders.filter((holder) => holder.isActive);
          const leaver = active[which % active.length];
          if (leaver === undefined) return;
          holders.splice(holders.indexOf(leaver), 1);
          lock.leave(leaver);
        };
        for (const step of steps) {
          if (typeof step === 'number') {
            leave(step);
          } else {
            const holder = new Holder(step, () => undefined);
            holders.push(holder);
            if (lock.enter(holder)) holder.isActive = true;
          }
          check();
        }
        while (holders.length > 0) {
          leave(0);
          check();
        }
      }),
      { numRuns: 400 },
    );
  });
});
