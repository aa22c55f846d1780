import { describe, expect, it } from 'vitest';
import { RecentBlocks } from '../../../src/volume/io/recent-blocks.ts';

function block(value: number): Uint8Array {
  return new Uint8Array(4096).fill(value);
}

describe('recent blocks', () => {
  it('keep the newest, by address, as they were', () => {
    const recent = new RecentBlocks(3);
    const target = block(0);
    expect(recent.copy(0, target)).toBe(false);
    for (let value = 1; value <= 5; value += 1) {
      const bytes = block(value);
      recent.put(value * 100, bytes);
      bytes.fill(0xff);
    }
    for (const [address, value] of [
      [100, undefined],
      [200, undefined],
      [300, 3],
      [400, 4],
      [500, 5],
    ] as const) {
      target.fill(0);
      expect(recent.copy(address, target)).toBe(value !== undefined);
      expect(target.every((byte) => byte === (value ?? 0))).toBe(true);
    }
  });
});
