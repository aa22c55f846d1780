import { expect, it } from 'vitest';
import { dropStalled, type MemoryHolder } from '../../../src/base/stalls.ts';

const looksMax = 3;
const crowded = { data: true, output: false };

class Holder implements MemoryHolder {
  progress = 0;
  holdsData = true;
  holdsOutput = false;
  readonly stall = { progress: 0, looks: 0 };
  isDropped = false;

  onBreach(): void {
    this.isDropped = true;
  }
}

function look(holders: readonly Holder[], count: number): void {
  for (let index = 0; index < count; index += 1) dropStalled(holders, crowded, looksMax);
}

it('who holds what is crowded and does not move is dropped at the last look', () => {
  const holder = new Holder();
  look([holder], looksMax - 1);
  expect(holder.isDropped).toBe(false);
  look([holder], 1);
  expect(holder.isDropped).toBe(true);
});

it('who came while others were stalled has as long as they had', () => {
  const old = new Holder();
  look([old], looksMax);
  const newcomer = new Holder();
  look([newcomer], looksMax - 1);
  expect([old.isDropped, newcomer.isDropped]).toEqual([true, false]);
});

it('who moves, or holds only what nobody waits for, stays', () => {
  const moving = new Holder();
  const reader = new Holder();
  reader.holdsData = false;
  reader.holdsOutput = true;
  for (let count = 0; count < 2 * looksMax; count += 1) {
    moving.progress += 1;
    look([moving, reader], 1);
  }
  expect([moving.isDropped, reader.isDropped]).toEqual([false, false]);
});
