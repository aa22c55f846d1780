/**
 * Exhaustive exploration of one small program: a crash at every disk call, recovery, and a crash at every disk call of the
 * recovery.
 *
 *     run      ──●──●──●──●──●──▶ end         ● point: a copy of the machine and what was promised by then
 *                   │
 *                   ├ kill / loss ──▶ recover ──●──●──●──▶ opened ──▶ epilogue
 *                   │                    │         │            │          └ loss ──▶ recover: all of it is there
 *                   │                    │         │            └ loss ──▶ recover: exactly the same state
 *                   │                    │         └ kill / loss ──▶ recover: still nothing promised is gone
 *
 * The program itself runs only once per seed: every crash works on a copy.
 */
import { present } from '../../src/base/assert.ts';
import type { StoreVariant } from './broken-stores.ts';
import { Client } from './client.ts';
import { ContentTable } from './content.ts';
import { type Crash, crashed, describeCrash, kill, loss } from './crash.ts';
import { wantedContents } from './kept-blocks.ts';
import { requireKept, setPolicy } from './kept-check.ts';
import { Machine } from './machine.ts';
import type { PoolState } from './model.ts';
import {
  type CrashMark,
  differences,
  explained,
  type ObservedPool,
  Oracle,
  Violation,
} from './oracle.ts';
import type { Program, Step, StepOp } from './program-steps.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { LossStyle } from './virtual-file.ts';

export interface ExploreOptions {
  readonly program: Program;
  readonly seed: number;
  /** Crashes inside recovery: at every n-th of its points; 0 = none. */
  readonly recoveryStride: number;
  /** Only this point of the run; undefined = all. */
  readonly onlyPoint?: number;
  /** How the store is put together: right, or broken on purpose. */
  readonly variant?: StoreVariant;
  readonly trace?: (line: string) => void;
}

export interface ExploreResult {
  readonly points: number;
  readonly recoveries: number;
}

interface CrashPoint {
  readonly what: string;
  readonly machine: Machine;
  readonly mark: CrashMark;
}

interface InnerPoint {
  readonly what: string;
  readonly machine: Machine;
}

const eventsMax = 50_000;
/** Seals follow the log by less than this. */
const sealMs = 300;
const epilogueSequence = 1_000_000;
/** Every second recovery also checks the manifest, with a rebuild. */
const rebuildStride = 2;
/** Recoveries are crashed themselves after a kill and after a loss that tears sectors. */
const innerStride = 3;

/** Throws Violation, naming the seed and the place, when the store breaks a promise. */
export function explore(options: ExploreOptions): ExploreResult {
  return new Explorer(options).run();
}

class Explorer {
  readonly #options: ExploreOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #oracle: Oracle;
  readonly #points: CrashPoint[] = [];
  #recoveries = 0;
  #where = 'the run itself';
  #sequence = 0;

  constructor(options: ExploreOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#oracle = new Oracle(this.#contents, new Map());
  }

  run(): ExploreResult {
    try {
      this.#runProgram();
      for (const [index, point] of this.#points.entries()) {
        if (this.#options.onlyPoint === undefined || this.#options.onlyPoint === index) {
          this.#checkPoint(index, point);
        }
      }
    } catch (thrown) {
      throw this.#explained(thrown);
    }
    return { points: this.#points.length, recoveries: this.#recoveries };
  }

  #explained(thrown: unknown): Violation {
    const { program, seed } = this.#options;
    const point = /^point (\d+)/.exec(this.#where)?.[1];
    const only = point === undefined ? '' : ` --point ${point}`;
    const where = `program ${program.name}, seed ${seed}, ${this.#where}`;
    return explained(thrown, where, `--program ${program.name} --seed ${seed}${only}`);
  }

  #trace(line: string): void {
    this.#options.trace?.(line);
  }

  #runProgram(): void {
    const machine = new Machine();
    let life = this.#startLife(machine);
    for (const step of this.#options.program.steps) {
      if (step.kind === 'reopen') {
        life.idle();
        life.process.close();
        life = this.#startLife(machine);
      } else {
        this.#runStep(life, step);
      }
    }
    life.idle();
    this.#addPoint('after the last answer', machine);
    life.process.close();
    this.#addPoint('after the close', machine);
  }

  #startLife(machine: Machine): Life {
    const process = new StoreProcess({
      machine,
      random: this.#random.fork(1),
      variant: this.#options.variant,
      ...(this.#options.program.hasCleaner === true ? { cleaner: 'auto' as const } : {}),
      onPoint: (what) => {
        this.#addPoint(what, machine);
      },
    });
    process.open();
    this.#addPoint('opened', machine);
    const client = new Client(process, this.#oracle, 'none', (what) => {
      this.#trace(`  ${what}`);
    });
    return new Life(process, client);
  }

  #runStep(life: Life, step: Step): void {
    switch (step.kind) {
      case 'wait':
        life.idle();
        break;
      case 'pack':
        life.pack(this.#oracle.now, this.#contents, step.every);
        break;
      case 'flush':
        life.client.flush(step.volume);
        break;
      case 'checkpoint':
        life.process.pool.checkpoint();
        break;
      case 'stepClock':
        life.process.stepWall(step.byMs);
        break;
      case 'policy':
        setPolicy(life.process, step.name, step.policy);
        break;
      case 'passTime':
        life.idle();
        life.process.passTime(step.ms);
        break;
      case 'op':
        this.#sequence += 1;
        life.client.submit(step.op, this.#sequence);
        life.process.runSome(this.#random.below(6));
        break;
      case 'reopen':
        break;
    }
  }

  #addPoint(what: string, machine: Machine): void {
    this.#trace(`point ${this.#points.length}: ${what}`);
    this.#points.push({ what, machine: machine.copy(), mark: this.#oracle.mark() });
  }

  #checkPoint(index: number, point: CrashPoint): void {
    const crashes: readonly Crash[] = [
      kill,
      loss(LossStyle.none, 0),
      loss(LossStyle.all, 0),
      loss(LossStyle.sectors, index * 8 + 1),
      loss(LossStyle.pages, index * 8 + 2),
      loss(LossStyle.mostly, index * 8 + 3),
    ];
    for (const [crashIndex, crash] of crashes.entries()) {
      const where = `point ${index} (${point.what}), ${describeCrash(crash)}`;
      this.#at(where);
      const inner: InnerPoint[] = [];
      const process = this.#recover(crashed(point.machine, crash), (what, machine) => {
        inner.push({ what, machine: machine.copy() });
      });
      const opened = process.machine.copy();
      const recoveryPoints = inner.slice();
      const observed = process.observe(this.#contents);
      const { count, state } = this.#oracle.verify(point.mark, crash.kind === 'loss', observed);
      this.#trace(`    state after ${count} operations`);
      if ((index + crashIndex) % rebuildStride === 0) process.requireEqualRebuild();
      requireKept(process);
      this.#checkOpened(where, opened, state);
      this.#checkEpilogue(where, process, state);
      if (crashIndex % innerStride === 0) this.#checkInner(where, point.mark, recoveryPoints);
    }
  }

  #at(where: string): void {
    this.#where = where;
    this.#trace(where);
  }

  /** With `onPoint` the whole process runs; without, only what a look at the pool needs. */
  #recover(machine: Machine, onPoint?: (what: string, machine: Machine) => void): StoreProcess {
    this.#recoveries += 1;
    const process = new StoreProcess({
      machine,
      random: new SeededRandom(this.#options.seed * 65_537 + this.#recoveries),
      variant: this.#options.variant,
      isKeeperStuck: onPoint === undefined && this.#options.program.isKeeperNeeded !== true,
      onPoint: (what) => {
        onPoint?.(what, machine);
      },
    });
    process.open();
    return process;
  }

  #requireState(state: PoolState, observed: ObservedPool, what: string): void {
    const found = differences(state, observed, this.#contents, 8);
    if (found.length > 0) throw new Violation(`${what}\n  ${found.join('\n  ')}`);
  }

  /** What a pool has shown once it keeps, whatever happens to the machine next. */
  #checkOpened(where: string, opened: Machine, state: PoolState): void {
    for (const crash of [loss(LossStyle.none, 0), loss(LossStyle.sectors, this.#recoveries)]) {
      this.#at(`${where}, opened, ${describeCrash(crash)}`);
      const observed = this.#recover(crashed(opened, crash)).observe(this.#contents);
      this.#requireState(state, observed, 'recovered data was lost again');
    }
  }

  /** A recovered pool takes writes, and they keep too. */
  #checkEpilogue(where: string, process: StoreProcess, state: PoolState): void {
    this.#at(`${where}, opened, written to`);
    const oracle = new Oracle(this.#contents, state);
    const client = new Client(process, oracle, 'none', (what) => {
      this.#trace(`    ${what}`);
    });
    const life = new Life(process, client);
    for (const [index, op] of epilogue(oracle.now).entries()) {
      client.submit(op, epilogueSequence + index);
      // A snapshot may overtake a write of part of a block that still waits for what is there.
      life.idle();
    }
    this.#at(`${where}, opened, written to, machine lost`);
    const lost = crashed(process.machine, loss(LossStyle.none, 0));
    const observed = this.#recover(lost).observe(this.#contents);
    oracle.verify(oracle.mark(), true, observed);
  }

  #checkInner(where: string, mark: CrashMark, inner: readonly InnerPoint[]): void {
    const stride = this.#options.recoveryStride;
    if (stride === 0) return;
    for (let index = this.#recoveries % stride; index < inner.length; index += stride) {
      const point = present(inner[index], 'point of the recovery');
      for (const crash of [kill, loss(LossStyle.sectors, index), loss(LossStyle.none, 0)]) {
        this.#at(`${where}, recovery point ${index} (${point.what}), ${describeCrash(crash)}`);
        const observed = this.#recover(crashed(point.machine, crash)).observe(this.#contents);
        this.#oracle.verify(mark, true, observed);
      }
    }
  }
}

/** A process and its client. */
class Life {
  readonly process: StoreProcess;
  readonly client: Client;
  #isPacking = false;

  constructor(process: StoreProcess, client: Client) {
    this.process = process;
    this.client = client;
  }

  /** Runs until every request is answered, and what was to be packed is. */
  idle(): void {
    const isIdle = (): boolean => this.client.pendingCount === 0 && !this.#isPacking;
    this.process.runUntil(isIdle, eventsMax, 'answers');
  }

  /** Begins to pack every n-th sealed segment. Throws Violation when the store refuses. */
  pack(state: PoolState, contents: ContentTable, every: number): void {
    this.idle();
    this.process.passTime(sealMs);
    this.#isPacking = true;
    this.process.pack(contents, wantedContents(state), {
      isChosen: (segId) => segId % every === 0,
      done: (outcome) => {
        this.#isPacking = false;
        if (outcome.ok && outcome.value.refused.length === 0) return;
        const why = outcome.ok ? outcome.value.refused[0]?.reason : outcome.error.message;
        throw new Violation(`not packed: ${why}`);
      },
    });
  }
}

/** A few operations that any state allows. */
function epilogue(state: PoolState): StepOp[] {
  const volume = state.values().next().value;
  if (volume === undefined) {
    return [
      { kind: 'volumeCreate', volume: 99, name: 'after', sizeBytes: 65_536, isWriteBack: false },
    ];
  }
  return [
    { kind: 'write', volume: volume.id, offset: 4096, length: 8192 },
    { kind: 'write', volume: volume.id, offset: 100, length: 50 },
    { kind: 'snapshotCreate', volume: volume.id, name: 'after' },
    { kind: 'write', volume: volume.id, offset: 0, length: 4096 },
  ];
}
