import { describe, expect, it } from 'vitest';
import { footerBytesOf, StoredCount } from '../../../../src/volume/core/stored-bytes.ts';
import { addressOf } from '../../../../src/volume/format/address.ts';
import type { RunPlace } from '../../../../src/volume/index/run-format.ts';
import { runPath } from '../../../../src/volume/index/run-path.ts';
import { RunSet } from '../../../../src/volume/index/run-set.ts';
import { defaultSettings } from '../../../../src/volume/limits.ts';
import { SegmentTable } from '../../../../src/volume/recovery/segment-table.ts';
import { SeededRandom } from '../../../sim/random.ts';

const segmentSlots = 64;
const segmentBytes = segmentSlots * 4096;
const packBytes = 10_000;

/** Each another one. */
function sizeOfRun({ firstSegId, generation = 0 }: RunPlace): number {
  return 4096 + firstSegId + generation;
}

/** A log whose segments are ended, sealed (late, some of them) and packed in any order, and runs that come and go. */
class CountedLog {
  readonly packed = new Set<number>();
  readonly table = new SegmentTable(segmentSlots, { find: () => undefined });
  readonly runs = new RunSet(8);
  readonly #random: SeededRandom;
  #segId = 0;
  #unsealed: number[] = [];
  readonly count: StoredCount;

  constructor(random: SeededRandom) {
    this.#random = random;
    const { packed, table, runs } = this;
    const segId = (): number => this.#segId;
    const parts = {
      segmentById: table,
      settings: { ...defaultSettings, segmentSlots, manifestPath: '' },
      host: { disk: { sizeOf: (path: string) => this.#sizeOf(path) } },
      writer: {
        log: {
          get place() {
            return { segId: segId(), nextSlot: 3 };
          },
        },
      },
    };
    this.count = new StoredCount(parts, {
      runs,
      packs: {
        get packedBytes() {
          return packed.size * packBytes;
        },
        find: (id) => (packed.has(id) ? id : undefined),
        segIds: () => packed.keys(),
      },
    });
  }

  step(): void {
    const at = this.#random.below(10);
    if (at < 5) this.#nextSegment();
    else if (at < 7) this.#seal();
    else if (at < 9) this.#pack();
    else this.#changeRuns();
  }

  #nextSegment(): void {
    if (this.#segId > 0) {
      this.table.ended(this.#segId, addressOf(this.#segId, this.#random.between(2, segmentSlots)));
      this.#unsealed.push(this.#segId);
      this.count.segmentOpened();
    }
    this.#segId += this.#random.between(1, 2);
    this.table.add({ segId: this.#segId, epoch: 1, hlcMs: 0 });
  }

  #seal(): void {
    const [segId] = this.#unsealed.splice(this.#random.below(this.#unsealed.length + 1), 1);
    if (segId === undefined) return;
    const endSlot = (this.table.get(segId)?.endAddress ?? 0) - addressOf(segId, 0);
    const entryCount = this.#random.below(50);
    this.table.sealed({ segId, endSlot, entryCount, tag: new Uint8Array(8) });
  }

  #pack(): void {
    const sealed = [...this.table.values()].filter(({ isSealed }) => isSealed);
    if (sealed.length > 0) this.packed.add(this.#random.pick(sealed).segId);
  }

  /** Thinned ones, too: one of each generation in a place. */
  #changeRuns(): void {
    const firstSegId = this.#random.below(20) * 8;
    const generation = this.#random.below(3);
    const place = { level: 1, firstSegId, ...(generation > 0 && { generation }) };
    if (this.runs.isKnown(place)) this.runs.remove(place);
    else this.runs.add(place);
  }

  #sizeOf(path: string): number {
    const place = [...this.runs.places()].find((each) => runPath(each) === path);
    return place === undefined ? 0 : sizeOfRun(place);
  }

  /** Counted from nothing. */
  expected(): { segmentBytes: number; packBytes: number; runBytes: number; manifestBytes: number } {
    let bytes = 3 * 4096;
    for (const segment of this.table.values()) {
      if (segment.segId === this.#segId || this.packed.has(segment.segId)) continue;
      bytes += segmentBytes + footerBytesOf(segment, segmentBytes);
    }
    const runBytes = [...this.runs.places()].reduce((total, place) => total + sizeOfRun(place), 0);
    const packedBytes = this.packed.size * packBytes;
    return { segmentBytes: bytes, packBytes: packedBytes, runBytes, manifestBytes: 0 };
  }
}

describe('stored bytes', () => {
  it('are the same counted step by step as counted from nothing, whatever is sealed and packed when', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const random = new SeededRandom(seed);
      const log = new CountedLog(random);
      for (let step = 0; step < 200; step += 1) {
        log.step();
        if (random.chance(0.3)) continue;
        log.count.count();
        expect(log.count.parts, `seed ${seed}, step ${step}`).toEqual(log.expected());
      }
    }
  });
});
