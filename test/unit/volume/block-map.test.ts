import { describe, expect, it } from 'vitest';
import { BlockMap, holeValue } from '../../../src/volume/map/block-map.ts';
import { LeafStore } from '../../../src/volume/map/leaf-store.ts';

describe('BlockMap', () => {
  it('keeps a region written in large pieces in one small leaf', () => {
    const store = new LeafStore();
    const map = new BlockMap(store, 512);
    map.set(0, 256, 1000);
    map.set(256, 256, 5000);
    const page = 8192;
    expect(store.usedBytes).toBe(page + 256);
    for (let block = 0; block < 512; block += 2) map.set(block, 1, 9000 + block * 7);
    expect(store.usedBytes).toBe(page + 4096);
    map.set(0, 256, 20_000);
    map.set(256, 256, 30_000);
    expect(store.usedBytes).toBe(page + 256);
  });

  it('forgets what a smaller size cuts off', () => {
    const store = new LeafStore();
    const map = new BlockMap(store, 1024);
    map.set(0, 1024, 77);
    map.resize(600);
    map.resize(1024);
    expect(map.lookup(599)).toBe(77 + 599);
    expect(map.lookup(600)).toBe(holeValue);
    expect(map.lookup(1023)).toBe(holeValue);
    expect(map.mappedBlocks).toBe(600);
  });
});
