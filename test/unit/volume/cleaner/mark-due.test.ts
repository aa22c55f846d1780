import { describe, expect, it } from 'vitest';
import { type LogState, MarkDue } from '../../../../src/volume/cleaner/mark-due.ts';

const segmentBytes = 2 ** 20;

/** A small pool, an hour after anything happened. */
function log(rest: Partial<LogState> = {}): LogState {
  return {
    changedBytes: 0,
    usedBytes: 10 * segmentBytes,
    segmentBytes,
    pressure: 'none',
    isStalled: false,
    nowMs: 3_600_000,
    ...rest,
  };
}

/** After a mark that took `markMs` and ended at time 0. */
function judged(markMs = 0, hasFound = true): MarkDue {
  const due = new MarkDue();
  due.begun({ changedBytes: 0, nowMs: -markMs });
  due.judged(0);
  due.ended(0, hasFound);
  return due;
}

describe('when the log is judged', () => {
  it('is when the pool was opened, and then not without a reason', () => {
    expect(new MarkDue().reason(log())).toBe('opened');
    expect(judged().reason(log())).toBeUndefined();
  });

  it('is when eight segments were written, or a twentieth of what is used', () => {
    const due = judged();
    expect(due.reason(log({ changedBytes: 8 * segmentBytes - 1 }))).toBeUndefined();
    expect(due.reason(log({ changedBytes: 8 * segmentBytes }))).toBe('log written');
    const usedBytes = 1000 * segmentBytes;
    expect(due.reason(log({ usedBytes, changedBytes: 49 * segmentBytes }))).toBeUndefined();
    expect(due.reason(log({ usedBytes, changedBytes: 50 * segmentBytes }))).toBe('log written');
  });

  it('comes sooner when space is short', () => {
    const due = judged();
    const changedBytes = 4 * segmentBytes;
    expect(due.reason(log({ changedBytes, pressure: 'soft' }))).toBe('log written');
    expect(due.reason(log({ changedBytes: segmentBytes, pressure: 'hard' }))).toBe('log written');
  });

  it('waits twice as long, up to sixteen times, when nothing was found', () => {
    const due = judged(0, false);
    const after = (segments: number): string | undefined =>
      due.reason(log({ changedBytes: segments * segmentBytes }));
    expect([after(15), after(16)]).toEqual([undefined, 'log written']);
    for (let round = 0; round < 10; round += 1) due.ended(0, false);
    expect([after(127), after(128)]).toEqual([undefined, 'log written']);
    due.ended(0, true);
    expect(after(8)).toBe('log written');
  });

  it('is soon after something was deleted, once for a crowd of deletes', () => {
    const due = judged();
    due.deleted();
    expect(due.reason(log({ nowMs: 9999 }))).toBeUndefined();
    expect(due.reason(log({ nowMs: 10_000 }))).toBe('deleted');
    due.begun(log({ nowMs: 10_000 }));
    due.judged(10_000);
    due.ended(10_000, true);
    expect(due.reason(log())).toBeUndefined();
  });

  it('takes a small part of the time when the walk over the index is long', () => {
    const due = judged(60_000);
    due.deleted();
    expect(due.reason(log({ nowMs: 20 * 60_000 - 1 }))).toBeUndefined();
    expect(due.reason(log({ nowMs: 20 * 60_000 }))).toBe('deleted');
    expect(due.reason(log({ nowMs: 60_000, pressure: 'hard' }))).toBe('deleted');
  });

  it('loses patience with windows that move and free nothing, until something is deleted', () => {
    const due = judged(0, false);
    due.windowsMoved();
    expect(due.reason(log({ nowMs: 19_999 }))).toBeUndefined();
    expect(due.reason(log({ nowMs: 20_000 }))).toBe('windows moved');
    due.deleted();
    expect(due.reason(log({ nowMs: 10_000 }))).toBe('deleted');
  });

  it('is at once, whatever was logged, when writes stall, and then again and again, less and less often', () => {
    const due = judged(1000, false);
    for (let round = 0; round < 10; round += 1) due.ended(0, false);
    const stalled = { pressure: 'hard', isStalled: true } as const;
    expect(due.reason(log({ ...stalled, nowMs: 1000 }))).toBeUndefined();
    due.stalled();
    expect(due.reason(log({ ...stalled, nowMs: 999 }))).toBeUndefined();
    expect(due.reason(log({ ...stalled, nowMs: 1000 }))).toBe('writes stalled');
    // A mark of a second that finds nothing takes at most a part in seventeen of the time.
    for (const waitMs of [2000, 4000, 8000, 16_000, 16_000]) {
      due.begun(log({ nowMs: 0 }));
      due.judged(1000);
      due.ended(1000, false);
      expect(due.reason(log({ ...stalled, nowMs: 999 + waitMs }))).toBeUndefined();
      expect(due.reason(log({ ...stalled, nowMs: 1000 + waitMs }))).toBe('writes stalled');
    }
    expect(due.reason(log({ ...stalled, isStalled: false }))).toBeUndefined();
  });

  it('does not take what is given up during a mark for a part of it', () => {
    const due = new MarkDue();
    due.begun({ changedBytes: 0, nowMs: 0 });
    due.deleted();
    due.judged(1);
    due.ended(1, true);
    expect(due.reason(log())).toBe('deleted');
  });
});
