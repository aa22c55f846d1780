import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { garbageShareAllowed } from '../../../../src/volume/cleaner/garbage-share.ts';
import {
  type Batch,
  type Container,
  copyBytesOf,
  isPromising,
  type Member,
  mostPromising,
  nextBatch,
  type PoolState,
} from '../../../../src/volume/cleaner/policy.ts';

const blockBytes = 4096;
const segmentBlocks = 64;
const segmentBytes = segmentBlocks * blockBytes;
const fixedBytes = 2 * blockBytes;

function member(segId: number, liveBlocks: number): Member {
  return { segId, liveBlocks, fixedBytes };
}

/** A segment's own file. */
function segment(segId: number, liveBlocks: number): Container {
  const members = [member(segId, liveBlocks)];
  return { sizeBytes: segmentBytes, members, isPack: false, madeAtSegId: segId };
}

function pack(keptBlocks: number, members: readonly Member[]): Container {
  const sizeBytes = keptBlocks * blockBytes + members.length * fixedBytes;
  return { sizeBytes, members, isPack: true, madeAtSegId: 990 };
}

function contentOf(
  containers: readonly Container[],
): Pick<PoolState, 'liveBytes' | 'garbageBytes'> {
  const liveBytes = containers.reduce((sum, { members }) => sum + copyBytesOf(members), 0);
  const sizeBytes = containers.reduce((sum, container) => sum + container.sizeBytes, 0);
  return { liveBytes, garbageBytes: sizeBytes - liveBytes };
}

/** A pool that the containers fill so far. */
function pool(
  containers: readonly Container[],
  { fill = 0.3, ...rest }: Partial<PoolState> & { readonly fill?: number } = {},
): PoolState {
  const content = contentOf(containers);
  const usedBytes = content.liveBytes + content.garbageBytes;
  return {
    containers: containers.filter((each) => isPromising(each, segmentBytes)),
    ...content,
    headSegId: 1000,
    segmentBytes,
    use: {
      usedBytes,
      softLimitBytes: (0.85 * usedBytes) / fill,
      writeLimitBytes: (0.95 * usedBytes) / fill,
      shortBytes: 0,
    },
    pressure: 'none',
    spareBytes: 2 ** 40,
    ...rest,
  };
}

/** As `PoolState.use` is told it: the soft limit at 0.85, the hard limit at 0.95. */
function fillOf({ use }: PoolState): number {
  return (0.95 * use.usedBytes) / use.writeLimitBytes;
}

function segIdsOf(batch: Batch | undefined): readonly number[] {
  return (batch?.packs ?? []).flatMap(({ segIds }) => segIds);
}

/** What the pool is once the batch is done. */
function cleaned(state: PoolState, { packs }: Batch): PoolState {
  const memberById = new Map(
    state.containers.flatMap(({ members }) => members.map((each) => [each.segId, each])),
  );
  const moved = new Set(packs.flatMap(({ segIds }) => segIds));
  const kept = state.containers.filter(({ members }) => !members.some((m) => moved.has(m.segId)));
  const made = packs.map(({ segIds }) => {
    const members = segIds.map((segId) => memberById.get(segId) ?? member(segId, Number.NaN));
    return pack(
      members.reduce((sum, { liveBlocks }) => sum + liveBlocks, 0),
      members,
    );
  });
  const containers = [...kept, ...made];
  const content = contentOf(containers);
  const usedBytes =
    state.use.usedBytes -
    (state.liveBytes + state.garbageBytes - content.liveBytes - content.garbageBytes);
  return { ...state, containers, ...content, use: { ...state.use, usedBytes } };
}

describe('cleaning policy', () => {
  it('gives back at once, in one pack, what nothing lives of, however empty the pool is', () => {
    const dead = [segment(3, 0), pack(40, [member(5, 0), member(8, 0)])];
    const batch = nextBatch(pool([segment(1, 60), ...dead, segment(9, 64)], { fill: 0.01 }));
    expect(batch).toMatchObject({ reason: 'dead', containers: dead });
    expect(batch?.packs.map(({ segIds }) => segIds)).toEqual([[3, 5, 8]]);
    expect(batch?.copyBytes).toBe(3 * fixedBytes);
  });

  it('leaves a pack of empty members as it is', () => {
    expect(nextBatch(pool([pack(0, [member(1, 0), member(2, 0)])]))).toBeUndefined();
  });

  it.each([
    [0, 1],
    [0.5, 1],
    [0.675, 0.625],
    [0.85, 0.25],
    [0.95, 0.02],
    [1.2, 0.02],
  ])('at a fill of %s allows garbage of %s of what lives', (fill, share) => {
    expect(garbageShareAllowed(fill, 'none')).toBeCloseTo(share, 9);
  });

  it('counts the pool as fuller when it is told to, never as emptier', () => {
    expect(garbageShareAllowed(0.1, 'soft')).toBeCloseTo(0.25, 9);
    expect(garbageShareAllowed(0.9, 'soft')).toBe(garbageShareAllowed(0.9, 'none'));
    expect(garbageShareAllowed(0.1, 'hard')).toBeCloseTo(0.25, 9);
  });

  it('copies nothing that lives before there is more garbage than is allowed', () => {
    // Of 64 blocks 2 go to header and footer: with 30 alive half of the file is garbage.
    const half = [1, 2, 3, 4].map((segId) => segment(segId, 30));
    expect(contentOf(half)).toEqual({
      liveBytes: 2 * segmentBytes,
      garbageBytes: 2 * segmentBytes,
    });
    expect(nextBatch(pool(half, { fill: 0.5 }))).toBeUndefined();
    const more = [...half.slice(1), segment(1, 29)];
    expect(nextBatch(pool(more, { fill: 0.5 }))?.reason).toBe('garbage');
    expect(nextBatch(pool(half, { fill: 0.51 }))?.reason).toBe('garbage');
    expect(nextBatch(pool(half, { fill: 0.2, pressure: 'soft' }))?.reason).toBe('garbage');
  });

  it('takes the emptier of two that are equally old, and the older of two that are equally empty', () => {
    const limited = { spareBytes: 30 * blockBytes };
    const state = pool([segment(10, 20), segment(11, 10)], limited);
    expect(segIdsOf(nextBatch(state))).toEqual([11]);
    const other = pool([segment(900, 16), segment(100, 16)], limited);
    expect(segIdsOf(nextBatch(other))).toEqual([100]);
  });

  it('keeps what is young and what is old in packs of their own', () => {
    const old = Array.from({ length: 4 }, (_, at) => segment(at + 1, 28));
    const young = Array.from({ length: 4 }, (_, at) => segment(at + 990, 28));
    const state = pool([...old, ...young]);
    const use = { ...state.use, shortBytes: 4 * segmentBytes };
    const packs = nextBatch({ ...state, use })?.packs ?? [];
    expect(packs.map(({ segIds }) => segIds)).toEqual([
      [1, 2, 3, 4],
      [990, 991, 992, 993],
    ]);
  });

  it('cleans a pool at its limit only as far as it needs to, not as far as its fullest moment asks for', () => {
    // 80 % of what may be used live; at the hard limit next to no garbage is allowed.
    const files = Array.from({ length: 200 }, (_, at) => segment(at + 1, 49));
    let state = pool(files, { fill: 0.95, pressure: 'hard' });
    for (let batch = nextBatch(state); batch !== undefined; batch = nextBatch(state)) {
      state = cleaned(state, batch);
    }
    expect(fillOf(state)).toBeLessThan(0.9);
    expect(state.garbageBytes).toBeGreaterThan(0.1 * state.liveBytes);
  });

  it('gives back what refused writes need, however much garbage is allowed', () => {
    const files = Array.from({ length: 200 }, (_, at) => segment(at + 1, 56));
    const state = pool(files, { fill: 0.4 });
    expect(nextBatch(state)).toBeUndefined();
    const shortBytes = 5 * segmentBytes;
    const { copyBytes = 0, replacedBytes = 0 } =
      nextBatch({ ...state, use: { ...state.use, shortBytes } }) ?? {};
    // A batch copies 16 segments; each of the files gives a sixteenth back.
    expect(replacedBytes - copyBytes).toBeGreaterThan(segmentBytes);
  });

  it('merges small packs when there are many, and no file of a segment with them', () => {
    const small = Array.from({ length: 15 }, (_, at) => pack(1, [member(at + 1, 1)]));
    const short: Container = { ...segment(99, 2), sizeBytes: 5 * blockBytes };
    expect(nextBatch(pool([...small, short]))).toBeUndefined();
    const batch = nextBatch(pool([...small, short, pack(2, [member(50, 2)])]));
    expect(batch?.reason).toBe('small packs');
    expect(batch?.containers).toHaveLength(16);
    expect(batch?.packs).toHaveLength(1);
    expect(segIdsOf(batch)).not.toContain(99);
  });

  it('says which containers come first, so that the others need not be remembered', () => {
    const containers = [
      segment(1, 60),
      segment(2, 10),
      segment(3, 0),
      segment(4, 30),
      segment(5, 62),
    ];
    const first = mostPromising(containers, 1000, 3).map(({ members }) => members[0]?.segId);
    expect(first).toEqual([3, 2, 4]);
    expect(containers.map((each) => isPromising(each, segmentBytes))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  const anyPool = fc
    .array(
      fc.array(fc.tuple(fc.nat(segmentBlocks - 2), fc.nat(20)), { minLength: 1, maxLength: 5 }),
      { maxLength: 60 },
    )
    .chain((shapes) =>
      fc.record({
        shapes: fc.constant(shapes),
        gaps: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 300, maxLength: 300 }),
        fill: fc.double({ min: 0.01, max: 1, noNaN: true }),
        pressure: fc.constantFrom('none', 'soft', 'hard'),
        spareSegments: fc.integer({ min: 0, max: 40 }),
      }),
    )
    .map(({ shapes, gaps, fill, pressure, spareSegments }): PoolState => {
      let segId = 0;
      let at = 0;
      const containers = shapes.map((shape): Container => {
        const members = shape.map(([live]) => {
          segId += gaps[at] ?? 1;
          at += 1;
          return member(segId, live);
        });
        const [only] = members;
        if (members.length === 1 && only !== undefined) return segment(only.segId, only.liveBlocks);
        const kept = shape.reduce((sum, [live, dead]) => sum + live + dead, 0);
        return pack(kept, members);
      });
      const spareBytes = spareSegments * segmentBytes;
      const rest = { headSegId: segId + 1, fill, pressure, spareBytes };
      return { ...pool(containers, rest), containers };
    });

  it('packs containers whole, within the space that there is, and gives more back than it takes', () => {
    fc.assert(
      fc.property(anyPool, (state) => {
        const batch = nextBatch(state);
        if (batch === undefined) return;
        const segIds = segIdsOf(batch);
        const moved = new Set(segIds);
        expect(moved.size).toBe(segIds.length);
        const chosen = state.containers.filter(({ members }) =>
          members.some((each) => moved.has(each.segId)),
        );
        expect(chosen.flatMap(({ members }) => members).length).toBe(segIds.length);
        expect(new Set(batch.containers)).toEqual(new Set(chosen));
        expect(batch.copyBytes).toBe(
          batch.packs.reduce((sum, { copyBytes }) => sum + copyBytes, 0),
        );
        expect(batch.copyBytes).toBeLessThanOrEqual(state.spareBytes);
        expect(batch.replacedBytes).toBe(chosen.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
        if (batch.reason !== 'small packs') {
          expect(batch.copyBytes).toBeLessThan(batch.replacedBytes);
        }
        for (const { segIds: inPack, copyBytes } of batch.packs) {
          expect(inPack).toEqual([...inPack].sort((left, right) => left - right));
          expect(inPack.length === 1 || copyBytes <= 8 * segmentBytes).toBe(true);
        }
      }),
    );
  });

  it('comes to an end, and then there is no more garbage than is allowed', () => {
    fc.assert(
      fc.property(anyPool, (start) => {
        let state: PoolState = { ...start, spareBytes: 2 ** 40 };
        let batch = nextBatch(state);
        for (let rounds = 0; batch !== undefined; rounds += 1) {
          expect(rounds).toBeLessThan(200);
          state = cleaned(state, batch);
          batch = nextBatch(state);
        }
        const { liveBytes, garbageBytes } = contentOf(state.containers);
        const allowed = garbageShareAllowed(fillOf(state), state.pressure) * liveBytes;
        // What a container would give is not worth a copy when it is less than two hundredths of it.
        expect(garbageBytes).toBeLessThanOrEqual(allowed + 0.02 * (liveBytes + garbageBytes));
      }),
    );
  });
});
