/**
 * One long random run: lives of a store process, one after the other, each ended by a crash or a clean close.
 *
 *     life 1 ──ops──●──ops──▶     life 2 ──recover──ops──●──▶     life 3 ...
 *                   │ fork             ▲
 *                   └──── crash ───────┘
 *
 * At the crash the machine is forked: the old life runs on until everything in flight is answered, which tells the order
 * of the log; the next life begins on the fork. Some recoveries are crashed too, several times in a row.
 */
import type { StoreVariant } from './broken-stores.ts';
import { Client } from './client.ts';
import { ContentTable } from './content.ts';
import { crashed, kill, loss } from './crash.ts';
import { crashedRecoveries } from './crashed-recovery.ts';
import { drive } from './drive.ts';
import { Machine } from './machine.ts';
import type { PoolState } from './model.ts';
import { type CrashMark, differences, explained, Oracle, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { LossStyle } from './virtual-file.ts';
import { Workload } from './workload.ts';

export interface LongRunOptions {
  readonly seed: number;
  readonly variant?: StoreVariant;
  readonly trace?: (line: string) => void;
}

export interface LongRunResult {
  readonly lives: number;
  readonly operations: number;
}

interface Fork {
  readonly what: string;
  readonly machine: Machine;
  readonly mark: CrashMark;
}

const eventsMax = 200_000;
const wallSteps = [-86_400_000, -3_600_000, -50, 50, 3_600_000] as const;
/** Crashes inside one recovery after another, at most. */
const recoveryCrashesMax = 3;

/** Throws Violation, naming the seed, when the store breaks a promise. */
export function longRun(options: LongRunOptions): LongRunResult {
  return new LongRun(options).run();
}

class LongRun {
  readonly #options: LongRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #workload: Workload;
  readonly #isWriteBack: boolean;
  readonly #queueDepthMax: number;
  #state: PoolState = new Map();
  #oracle: Oracle;
  #fork: Fork | undefined;
  /** Changes of the disk in this life until the fork is taken. */
  #pointsLeft = 0;
  #operations = 0;
  #lives = 0;
  #where = 'start';

  constructor(options: LongRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 1);
    this.#queueDepthMax = this.#random.pick([1, 4, 16, 32]);
    this.#isWriteBack = this.#random.chance(0.25);
    this.#workload = new Workload(this.#random.fork(1), {
      largestWriteBlocks: this.#random.pick([8, 24, 40]),
      hasRagged: true,
      isWriteBack: this.#isWriteBack,
    });
    this.#oracle = new Oracle(this.#contents, this.#state);
  }

  run(): LongRunResult {
    try {
      let machine = new Machine();
      const lives = this.#random.between(2, 6);
      while (this.#lives < lives) machine = this.#live(machine);
      this.#lastLook(machine);
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--seed ${seed}`);
    }
    return { lives: this.#lives, operations: this.#operations };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  /** One life on `machine`; returns the machine that the next one finds. */
  #live(machine: Machine): Machine {
    this.#lives += 1;
    this.#fork = undefined;
    this.#pointsLeft = this.#random.between(1, 400);
    this.#at('open');
    const process = this.#start(machine);
    process.open();
    this.#requireState(process, 'a pool opened after a clean close or a verified crash');
    const client = new Client(process, this.#oracle, 'none', (what) => {
      this.#options.trace?.(`  ${what}`);
    });
    this.#at('operations');
    this.#operate(process, client);
    process.runUntil(() => client.pendingCount === 0, eventsMax, 'answers');
    // What a killed process of write-back volumes leaves is not promised to the next machine loss.
    if (this.#takeFork() === undefined && (this.#isWriteBack || this.#random.chance(0.7))) {
      this.#at('close');
      process.close();
    } else {
      process.kill();
    }
    const fork = this.#takeFork();
    if (fork !== undefined) return this.#crash(fork);
    this.#state = this.#oracle.now;
    this.#oracle = new Oracle(this.#contents, this.#state);
    return machine;
  }

  #takeFork(): Fork | undefined {
    return this.#fork;
  }

  #start(machine: Machine): StoreProcess {
    return new StoreProcess({
      machine,
      random: this.#random.fork(2),
      variant: this.#options.variant,
      onPoint: (what) => {
        this.#pointsLeft -= 1;
        if (this.#pointsLeft !== 0) return;
        this.#fork = { what, machine: machine.copy(), mark: this.#oracle.mark() };
      },
    });
  }

  #operate(process: StoreProcess, client: Client): void {
    const random = this.#random;
    this.#operations += drive({
      process,
      client,
      oracle: this.#oracle,
      workload: this.#workload,
      count: random.between(10, 150),
      queueDepth: () => random.between(1, this.#queueDepthMax),
      isOver: () => this.#fork !== undefined,
      between: () => {
        if (random.chance(0.02)) process.stepWall(random.pick(wallSteps));
        process.runSome(random.below(8));
        const volumes = [...this.#oracle.now.keys()];
        if (volumes.length > 0 && random.chance(0.05)) client.flush(random.pick(volumes));
      },
    });
  }

  /** Recovers from the fork, checks, and returns the recovered machine. */
  #crash(fork: Fork): Machine {
    const { machine, isMachineLost } = crashedRecoveries(fork, {
      random: this.#random,
      variant: this.#options.variant,
      recoveriesMax: recoveryCrashesMax,
      onCrash: (what) => {
        this.#at(what);
      },
    });
    this.#pointsLeft = 0;
    this.#at('recovery');
    const process = this.#start(machine);
    process.open();
    const observed = process.observe(this.#contents);
    const { count, state } = this.#oracle.verify(fork.mark, isMachineLost, observed);
    this.#at(`recovered ${count} operations`);
    process.requireEqualRebuild();
    process.kill();
    this.#state = state;
    this.#oracle = new Oracle(this.#contents, state);
    return machine;
  }

  #requireState(process: StoreProcess, what: string): void {
    const observed = process.observe(this.#contents);
    const found = differences(this.#state, observed, this.#contents, 8);
    if (found.length > 0) throw new Violation(`${what} differs\n  ${found.join('\n  ')}`);
  }

  /** At the end the machine is lost once more, and everything is still there. */
  #lastLook(machine: Machine): void {
    this.#at('last look');
    // Nothing says that what a write-back volume answered last was flushed.
    const crash = this.#isWriteBack ? kill : loss(LossStyle.none, 0);
    const process = this.#start(crashed(machine, crash));
    process.open();
    this.#requireState(process, 'the pool at the end');
    process.requireEqualRebuild();
  }
}
