/**
 * Rot: a pool is written in peace, then one page of its files changes behind its back, then everything is read.
 *
 * Never wrong bytes: a block reads as what was last acknowledged, or as an I/O error when the damaged page held it. A pool
 * that had to give up a frame opens read-only. What one machine cannot know is allowed: when the last flush of a killed
 * process is damaged, its operations look like a torn tail.
 */
import { type ContentId, ContentTable, zeroContent } from './content.ts';
import { driveInPeace } from './drive.ts';
import { wantedContents } from './kept-blocks.ts';
import { Machine } from './machine.ts';
import { type ModelSnapshot, type ModelVolume, type PoolState, readContent } from './model.ts';
import {
  differences,
  explained,
  type ObservedDevice,
  type ObservedPool,
  Oracle,
  unreadable,
  Violation,
} from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { pageSizeBytes, type VirtualFile } from './virtual-file.ts';
import { Workload } from './workload.ts';

export interface RotRunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

/** What the store made of the damage. */
export type RotOutcome = 'unnoticed' | 'unreadable blocks' | 'tail cut' | 'read-only';

interface Damage {
  readonly what: string;
  /** What the page held, when it was a block of a volume. */
  readonly content: ContentId;
  readonly isSuperblock: boolean;
  /** A page of a pack that is no block: checksums, of which there is one copy, so any block may be unreadable. */
  readonly isOfPack: boolean;
}

/** Seals follow the log by less than this. */
const sealMs = 300;

/** Throws Violation, naming the seed, when the store shows wrong bytes or says nothing. */
export function rotRun(options: RotRunOptions): RotOutcome {
  return new RotRun(options).run();
}

class RotRun {
  readonly #options: RotRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #oracle: Oracle;
  readonly #workload: Workload;
  /** Operations published when the last commit began: later frames vouch for these. */
  #vouchedCount = 0;
  #hasPacked = false;
  #where = 'start';

  constructor(options: RotRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 0.5);
    this.#oracle = new Oracle(this.#contents, new Map());
    this.#workload = new Workload(this.#random.fork(5), {
      largestWriteBlocks: 24,
      hasRagged: true,
      isWriteBack: false,
    });
  }

  run(): RotOutcome {
    try {
      return this.#run();
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `rot, seed ${seed}, ${this.#where}`;
      throw explained(thrown, where, `--kind rot --seed ${seed}`);
    }
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(where);
  }

  #run(): RotOutcome {
    const machine = new Machine();
    for (let lives = this.#random.between(1, 3); lives > 1; lives -= 1) this.#write(machine, true);
    const isClosed = this.#random.chance(0.5);
    this.#write(machine, isClosed);
    const damage = this.#damage(machine);
    const last = this.#oracle.publishedCount;
    const low = isClosed || damage.isSuperblock ? last : this.#vouchedCount;
    this.#at(`${damage.what}, ${low} of ${last} operations vouched for`);
    const process = this.#process(machine);
    const refusal = process.tryOpen();
    if (refusal !== undefined) throw new Violation(`the pool does not open: ${refusal.message}`);
    return this.#judge(process, damage, low);
  }

  #process(machine: Machine): StoreProcess {
    const trace = this.#options.trace;
    return new StoreProcess({
      // What is damaged must be found, not given back as garbage before.
      cleaner: 'off',
      machine,
      random: this.#random.fork(4),
      onCommit: () => {
        this.#vouchedCount = this.#oracle.publishedCount;
      },
      ...(trace === undefined ? {} : { trace }),
    });
  }

  #write(machine: Machine, isClosed: boolean): void {
    this.#at('writing');
    const process = this.#process(machine);
    process.open();
    driveInPeace({
      process,
      oracle: this.#oracle,
      workload: this.#workload,
      random: this.#random,
      trace: this.#options.trace,
    });
    if (this.#random.chance(0.5)) this.#pack(process);
    if (isClosed) process.close();
    else process.kill();
  }

  /** Some or all of the sealed segments go into a pack. */
  #pack(process: StoreProcess): void {
    process.passTime(sealMs);
    const every = this.#random.between(1, 2);
    const outcome = process.packNow(this.#contents, wantedContents(this.#oracle.now), {
      isChosen: (segId) => segId % every === 0,
    });
    if (outcome === undefined) return;
    if (!outcome.ok) throw new Violation(`not packed: ${outcome.error.message}`);
    this.#options.trace?.(`packed ${outcome.value.packedSegIds.join(', ')}`);
    this.#hasPacked = true;
  }

  /** Changes one page that holds something. */
  #damage(machine: Machine): Damage {
    const random = this.#random;
    const pages: { path: string; file: VirtualFile; index: number }[] = [];
    for (const path of machine.image.paths()) {
      const file = machine.image.file(path);
      if (file === undefined) continue;
      for (let index = 0; index < file.pageCount; index += 1) {
        if (this.#contents.intern(file.page(index)) !== zeroContent) {
          pages.push({ path, file, index });
        }
      }
    }
    const { path, file, index } = random.pick(pages);
    const before = file.page(index);
    const kind = random.pick(['bit', 'sector', 'zeros', 'foreign'] as const);
    const after = before.slice();
    if (kind === 'bit') {
      const at = random.below(pageSizeBytes);
      after[at] = (after[at] ?? 0) ^ (1 << random.below(8));
    } else if (kind === 'sector') {
      const at = random.below(8) * 512;
      after.fill(0, at, at + 512);
    } else if (kind === 'zeros') {
      after.fill(0);
    } else {
      const other = random.pick(pages);
      after.set(other.file.page(other.index));
    }
    if (Buffer.compare(before, after) === 0) after[0] = (after[0] ?? 0) ^ 1;
    file.rot(index, after);
    const content = this.#contents.intern(before);
    return {
      what: `${kind} in ${path} page ${index}`,
      content,
      isSuperblock: path.startsWith('superblock'),
      isOfPack: path.startsWith('packs/') && !this.#wasStored(content),
    };
  }

  #judge(process: StoreProcess, damage: Damage, low: number): RotOutcome {
    const observed = process.observe(this.#contents);
    if (process.isReadOnly) {
      if (damage.isSuperblock) throw new Violation('one bad superblock copy makes it read-only');
      this.#requireNoForeignBytes(observed);
      return 'read-only';
    }
    const last = this.#oracle.publishedCount;
    for (let count = last; count >= low; count -= 1) {
      const bad = this.#unreadableBlocks(this.#oracle.state(count), observed, damage);
      if (bad === undefined) continue;
      // What nobody can reach may lie in a file that is to be used again.
      const isInLog = !this.#hasPacked && count === last && this.#wasStored(damage.content);
      if (bad > 0 || isInLog) {
        this.#requireReported(process);
      }
      process.close();
      if (count < last) return 'tail cut';
      return bad === 0 ? 'unnoticed' : 'unreadable blocks';
    }
    const found = differences(this.#oracle.state(low), observed, this.#contents, 8);
    throw new Violation(`the pool shows wrong bytes\n  ${found.join('\n  ')}`);
  }

  /** How many blocks cannot be read, all of them damaged; undefined when the pool differs from `state` otherwise. */
  #unreadableBlocks(state: PoolState, observed: ObservedPool, damage: Damage): number | undefined {
    if (state.size !== observed.size) return undefined;
    let bad = 0;
    for (const volume of state.values()) {
      const seen = observed.get(volume.name);
      if (seen === undefined) return undefined;
      if (seen.snapshotByName.size !== volume.snapshotByName.size) return undefined;
      const pairs: [ModelSnapshot, ObservedDevice | undefined][] = [[volume, seen]];
      for (const [name, snapshot] of volume.snapshotByName) {
        pairs.push([snapshot, seen.snapshotByName.get(name)]);
      }
      for (const [expected, device] of pairs) {
        const count = device === undefined ? undefined : badBlocks(expected, device, damage);
        if (count === undefined) return undefined;
        bad += count;
      }
    }
    return bad;
  }

  /** Whether some volume ever held this content, so that the log must still have it. */
  #wasStored(content: ContentId): boolean {
    for (const { blocks } of this.#volumesEver()) {
      if ([...blocks.values()].includes(content)) return true;
    }
    return false;
  }

  /** Every volume in every state that it was in. */
  *#volumesEver(): Generator<ModelVolume> {
    for (let count = 0; count <= this.#oracle.publishedCount; count += 1) {
      yield* this.#oracle.state(count).values();
    }
  }

  #requireReported(process: StoreProcess): void {
    const faults = process.verify();
    if (faults.length === 0) throw new Violation('verify finds nothing wrong with a damaged block');
  }

  /** A read-only pool may have lost operations or read as an error, but it must not show bytes that no such block ever had. */
  #requireNoForeignBytes(observed: ObservedPool): void {
    // By block only: when the record of a rename is lost, a volume shows under its old name.
    const everByBlock = new Map<number, Set<ContentId>>();
    for (const { blocks } of this.#volumesEver()) {
      for (const [block, content] of blocks) {
        const ever = everByBlock.get(block) ?? new Set();
        everByBlock.set(block, ever.add(content));
      }
    }
    const devices = [...observed.values()].flatMap((volume) => [
      volume,
      ...volume.snapshotByName.values(),
    ]);
    for (const device of devices) {
      for (const [block, content] of device.contents.entries()) {
        if (everByBlock.get(block)?.has(content) === true) continue;
        // Where the log cannot be read nobody knows that a block was never written.
        if (content === zeroContent || content === unreadable) continue;
        throw new Violation(`read-only pool, block ${block}: ${this.#contents.describe(content)}`);
      }
    }
  }
}

/** Unreadable blocks of one device when each may be damaged and every other is right; else undefined. */
function badBlocks(
  expected: ModelSnapshot,
  device: ObservedDevice,
  damage: Damage,
): number | undefined {
  if (expected.sizeBytes !== device.sizeBytes) return undefined;
  let bad = 0;
  for (const [block, content] of device.contents.entries()) {
    const wanted = readContent(expected.blocks, block);
    const mayBeBad = damage.isOfPack || wanted === damage.content;
    if (content === unreadable && mayBeBad) bad += 1;
    else if (content !== wanted) return undefined;
  }
  return bad;
}
