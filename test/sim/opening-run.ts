/**
 * Openings: lives of a pool between which its manifest changes behind its back. It is an earlier one, that of a copy of the
 * pool which was opened elsewhere, rotten, or gone. Whatever it says: the pool shows what was acknowledged, and the log and
 * all that is derived from it agree in the end.
 */
import { ContentTable } from './content.ts';
import { driveInPeace } from './drive.ts';
import { Machine } from './machine.ts';
import { ManifestStore } from './manifest-store.ts';
import { differences, explained, Oracle, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { Workload } from './workload.ts';

export interface OpeningRunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

export interface OpeningRunResult {
  readonly lives: number;
  /** Lives that believed their manifest. */
  readonly known: number;
}

type Fate = 'newest' | 'earlier' | 'foreign' | 'rotten' | 'gone';

const fates: readonly Fate[] = ['newest', 'newest', 'earlier', 'foreign', 'rotten', 'gone'];
const eventsMax = 200_000;

/** Throws Violation, naming the seed, when the store shows anything else than what was acknowledged. */
export function openingRun(options: OpeningRunOptions): OpeningRunResult {
  return new OpeningRun(options).run();
}

class OpeningRun {
  readonly #options: OpeningRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #oracle: Oracle;
  readonly #workload: Workload;
  readonly #machine = new Machine();
  #where = 'start';
  #known = 0;
  /** The newest manifest may say anything: it is made again before it is compared. */
  #isRotten = false;
  /** Some earlier one may. */
  #hasRotten = false;

  constructor(options: OpeningRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 0.25);
    this.#oracle = new Oracle(this.#contents, new Map());
    this.#workload = new Workload(this.#random.fork(5), {
      largestWriteBlocks: 24,
      hasRagged: true,
      isWriteBack: false,
    });
  }

  run(): OpeningRunResult {
    const lives = this.#random.between(3, 7);
    try {
      for (let life = 0; life < lives; life += 1) {
        this.#live(life === lives - 1);
        this.#changeManifest(this.#random.pick(fates));
      }
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `openings, seed ${seed}, ${this.#where}`;
      throw explained(thrown, where, `--kind openings --seed ${seed}`);
    }
    return { lives, known: this.#known };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(where);
  }

  #process(machine: Machine): StoreProcess {
    const { trace } = this.#options;
    const random = this.#random.fork(4);
    return new StoreProcess({ machine, random, ...(trace === undefined ? {} : { trace }) });
  }

  #live(isLast: boolean): void {
    const process = this.#process(this.#machine);
    process.open();
    if (process.wasKnown) this.#known += 1;
    this.#options.trace?.(process.wasKnown ? 'opened with its manifest' : 'read whole');
    this.#requireAll(process);
    this.#at('writing');
    driveInPeace({
      process,
      oracle: this.#oracle,
      workload: this.#workload,
      random: this.#random,
      trace: this.#options.trace,
    });
    if (isLast || this.#random.chance(0.3)) this.#requireSound(process);
    if (this.#random.chance(0.5)) process.close();
    else process.kill();
  }

  #requireAll(process: StoreProcess): void {
    const observed = process.observe(this.#contents);
    const found = differences(this.#oracle.now, observed, this.#contents, 8);
    if (found.length > 0)
      throw new Violation(`the pool shows something else\n  ${found.join('\n  ')}`);
  }

  #requireSound(process: StoreProcess): void {
    this.#at('comparing with the log');
    if (this.#isRotten) {
      try {
        process.requireEqualRebuild();
      } catch (thrown) {
        if (!(thrown instanceof Violation)) throw thrown;
      }
      this.#isRotten = false;
    }
    process.requireSoundUpkeep();
    const faults = process.verify();
    if (faults.length > 0) throw new Violation(faults.join('; '));
  }

  #changeManifest(fate: Fate): void {
    const { manifest } = this.#machine;
    this.#at(`the manifest is ${fate}`);
    if (fate === 'earlier') manifest.restoreEarlier(this.#random);
    else if (fate === 'gone') this.#machine.manifest = new ManifestStore();
    else if (fate === 'rotten') this.#isRotten = manifest.rot(this.#random) || this.#isRotten;
    else if (fate === 'foreign') manifest.takeFrom(this.#copyOpenedElsewhere().manifest);
    this.#hasRotten ||= this.#isRotten;
    if (fate === 'gone') this.#isRotten = false;
    if (fate === 'earlier' || fate === 'foreign') this.#isRotten = this.#hasRotten;
  }

  /** A copy of the machine whose pool goes another way: its segments have the ids that ours are going to have. */
  #copyOpenedElsewhere(): Machine {
    const copy = this.#machine.copy();
    for (let count = this.#random.between(1, 4); count > 0; count -= 1) {
      const process = this.#process(copy);
      if (process.tryOpen() !== undefined) return copy;
      const name = `elsewhere${count}`;
      let isDone = false;
      process.pool.volumeCreate({ name, sizeBytes: 2 ** 20 }, () => {
        isDone = true;
      });
      process.runUntil(() => isDone, eventsMax, 'a volume elsewhere');
      process.passTime(2000);
      process.close();
    }
    return copy;
  }
}
