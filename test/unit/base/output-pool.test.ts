/** Memory for replies: what a burst needed stays while bursts come, and goes when they do not. */
import { expect, test } from 'vitest';
import { type OutputBuffer, OutputPool } from '../../../src/base/output-pool.ts';

const mebibyte = 1 << 20;
const limits = { outputPoolMaxBytes: 64 * mebibyte, outputPoolKeepBytes: 32 * mebibyte };
const burst = 100;

function takeMany(pool: OutputPool, count: number): OutputBuffer[] {
  return Array.from({ length: count }, () => pool.takeLarge());
}

function giveAll(pool: OutputPool, buffers: readonly OutputBuffer[]): void {
  for (const buffer of buffers) pool.give(buffer);
}

/** As a quiet client: one buffer at a time. */
function workQuietly(pool: OutputPool, turns: number): void {
  for (let turn = 0; turn < turns; turn += 1) pool.give(pool.takeLarge());
}

test('buffers of a burst that does not come again are given up, all but what is used', () => {
  const pool = new OutputPool(limits);
  const first = takeMany(pool, burst);
  giveAll(pool, first);
  workQuietly(pool, 100_000);
  const known = new Set(first);
  const kept = takeMany(pool, burst).filter((buffer) => known.has(buffer));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.length).toBeLessThan(4);
});

test('buffers of bursts that come again and again stay', () => {
  const pool = new OutputPool(limits);
  const first = takeMany(pool, burst);
  giveAll(pool, first);
  const known = new Set(first);
  for (let round = 0; round < 100; round += 1) {
    workQuietly(pool, 1000);
    const again = takeMany(pool, burst);
    expect(again.every((buffer) => known.has(buffer))).toBe(true);
    giveAll(pool, again);
  }
});

test('what is given up counts as memory that may be taken again', () => {
  const pool = new OutputPool(limits);
  giveAll(pool, takeMany(pool, burst));
  workQuietly(pool, 100_000);
  let taken = 0;
  while (pool.hasLarge(1)) {
    pool.takeLarge();
    taken += 1;
  }
  expect(taken).toBe(Math.floor(limits.outputPoolMaxBytes / (256 * 1024 + 4096)));
});
