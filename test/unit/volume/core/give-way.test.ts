/** Slices of work give way to those who are served, and to nobody else. */
import { expect, it } from 'vitest';
import { giveWay } from '../../../../src/volume/core/give-way.ts';
import { limits } from '../../../../src/volume/limits.ts';
import { ManualTimers } from '../../../support/manual-timers.ts';

it('goes on in the next turn, or after a pause when that turn did something else', () => {
  const timers = new ManualTimers();
  let nowMs = 0;
  let slices = 0;
  const clock = { monotonicMs: () => nowMs, wallMs: () => 0 };
  const slice = (): void => {
    slices += 1;
  };
  giveWay({ clock, timers }, slice);
  expect(slices).toBe(0);
  timers.endTurn();
  expect(slices).toBe(1);
  giveWay({ clock, timers }, slice);
  // Somebody is served meanwhile.
  nowMs += limits.sliceGapMs;
  timers.endTurn();
  timers.advance(limits.slicePauseMs - 1);
  expect(slices).toBe(1);
  timers.advance(1);
  expect(slices).toBe(2);
});
