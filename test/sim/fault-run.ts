/**
 * Faults: the disk refuses calls (EIO, ENOSPC) while the pool works and while it recovers. The store may stop or refuse to
 * open; what it acknowledged stays, and what it shows follows from what was asked.
 *
 *     life: ops ── fault ── the store stops ── kill or loss ── recovery under faults (may refuse) ── recovery in peace
 */
import { ErrorCode } from '../../src/base/errors.ts';
import { Client } from './client.ts';
import { ContentTable } from './content.ts';
import { crashed, describeCrash, kill, loss } from './crash.ts';
import { drive } from './drive.ts';
import { wantedContents } from './kept-blocks.ts';
import { Machine } from './machine.ts';
import { explained, Oracle, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import type { DiskCall, DiskCallKind, DiskFault } from './virtual-disk.ts';
import { LossStyle, pageSizeBytes } from './virtual-file.ts';
import { Workload } from './workload.ts';

export interface FaultRunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

export interface FaultRunResult {
  readonly lives: number;
  /** Times the store stopped itself or refused to open. */
  readonly stops: number;
}

/** Seals follow the log by less than this. */
const sealMs = 300;
const eventsMax = 200_000;
/** More in flight than this, and nobody can try all their orders. */
const queueDepthMax = 4;
/** So often the file system has room for a few segments only. */
const shortSpaceShare = 0.2;
const segmentBytes = 64 * pageSizeBytes;
const callKinds: readonly DiskCallKind[] = [
  'read',
  'readLater',
  'write',
  'flush',
  'create',
  'open',
  'list',
  'rename',
  'remove',
  'flushFolder',
];

interface FaultPlan {
  readonly what: string;
  readonly choose: (call: DiskCall) => DiskFault | undefined;
  /** Whether any call has been refused. */
  hasStruck: boolean;
}

/** Throws Violation, naming the seed, when the store breaks a promise. */
export function faultRun(options: FaultRunOptions): FaultRunResult {
  return new FaultRun(options).run();
}

class FaultRun {
  readonly #options: FaultRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #workload: Workload;
  readonly #isWriteBack: boolean;
  #oracle: Oracle;
  #where = 'start';
  #lives = 0;
  #stops = 0;

  constructor(options: FaultRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 7);
    this.#isWriteBack = this.#random.chance(0.2);
    // The parts of a ragged zero that fails half-way would each need a place in the order.
    this.#workload = new Workload(this.#random.fork(5), {
      largestWriteBlocks: 24,
      hasRagged: false,
      isWriteBack: this.#isWriteBack,
    });
    this.#oracle = new Oracle(this.#contents, new Map());
  }

  run(): FaultRunResult {
    try {
      let machine = new Machine();
      const lives = this.#random.between(2, 5);
      while (this.#lives < lives) machine = this.#life(machine);
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `faults, seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind fault --seed ${seed}`);
    }
    return { lives: this.#lives, stops: this.#stops };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  /** Calls of one kind fail from a random one on, once or a few times. */
  #plan(callsMax: number): FaultPlan {
    const random = this.#random;
    const kind = random.pick(callKinds);
    const code = random.chance(0.3) && kind !== 'flush' ? 'ENOSPC' : 'EIO';
    const folder = random.pick(['', 'segments/', 'packs/', 'superblock']);
    let wait = random.below(callsMax);
    let left = random.pick([1, 1, 3, Number.POSITIVE_INFINITY]);
    const plan: FaultPlan = {
      what: `${code} on ${left} ${kind} of "${folder}*" after ${wait}`,
      hasStruck: false,
      choose: (call) => {
        if (call.kind !== kind || !call.path.startsWith(folder)) return undefined;
        wait -= 1;
        if (wait >= 0 || left <= 0) return undefined;
        left -= 1;
        plan.hasStruck = true;
        this.#options.trace?.(`  ${code} on call ${call.number}: ${kind} ${call.path}`);
        return { kind: 'error', code };
      },
    };
    return plan;
  }

  /** One page of one segment or pack cannot be read, as a bad sector. Half of the time among the newest pages. */
  #badPage(machine: Machine): FaultPlan {
    const random = this.#random;
    const paths = machine.image.paths().filter((path) => /^(segments|packs)\//u.test(path));
    if (paths.length === 0) return this.#plan(12);
    const path = random.pick(random.chance(0.7) ? paths.slice(-4) : paths);
    const start = random.below(machine.image.file(path)?.pageCount ?? 1) * pageSizeBytes;
    const plan: FaultPlan = {
      what: `a bad sector in ${path} at ${start}`,
      hasStruck: false,
      choose: (call) => {
        const isRead = call.kind === 'read' || call.kind === 'readLater';
        const isHit = start < call.position + call.length && call.position <= start;
        if (!isRead || call.path !== path || !isHit) return undefined;
        plan.hasStruck = true;
        return { kind: 'error', code: 'EIO' };
      },
    };
    return plan;
  }

  #process(machine: Machine, plan: FaultPlan | undefined): StoreProcess {
    const trace = this.#options.trace;
    return new StoreProcess({
      machine,
      random: this.#random.fork(6),
      ...(plan === undefined ? {} : { fault: plan.choose }),
      ...(trace === undefined ? {} : { trace }),
    });
  }

  #life(machine: Machine): Machine {
    this.#lives += 1;
    const plan = this.#plan(60);
    this.#at(plan.what);
    if (this.#random.chance(shortSpaceShare)) {
      const roomBytes = this.#random.between(0, 12) * segmentBytes;
      machine.image.capacityBytes = machine.image.usedBytes() + roomBytes;
      this.#options.trace?.(`  room for ${roomBytes} bytes`);
    }
    const process = this.#process(machine, plan);
    if (this.#opens(process, plan)) this.#operate(process);
    process.kill();
    if (process.failure !== undefined) this.#stops += 1;
    return this.#recover(machine);
  }

  /** Whether the pool opened to be written; a refusal needs a fault. */
  #opens(process: StoreProcess, plan: FaultPlan): boolean {
    const refusal = process.tryOpen();
    if (process.failure !== undefined) return false;
    if (refusal !== undefined || process.isReadOnly) {
      this.#stops += 1;
      const isFull = refusal?.code === ErrorCode.noSpace && process.isSpaceShort;
      if (!plan.hasStruck && !isFull) {
        const reason = refusal?.message ?? process.pool.readOnlyReason ?? '';
        throw new Violation(`without a fault: the pool does not open: ${reason}`);
      }
      return false;
    }
    return true;
  }

  #operate(process: StoreProcess): void {
    const random = this.#random;
    const client = new Client(process, this.#oracle, 'faulty', (what) => {
      this.#options.trace?.(`  ${what}`);
    });
    const hasStopped = (): boolean => process.failure !== undefined;
    this.#drive(process, client, random.between(5, 60));
    const isQuiet = (): boolean => client.pendingCount === 0 || hasStopped();
    process.runUntil(isQuiet, eventsMax, 'answers or a stop');
    if (hasStopped() || !random.chance(0.5)) return;
    this.#pack(process);
    this.#drive(process, client, random.between(5, 30));
    process.runUntil(isQuiet, eventsMax, 'answers or a stop');
  }

  /** What is packed must be known, and durable. Faults may end it. */
  #pack(process: StoreProcess): void {
    if (this.#oracle.mark().inFlight.size > 0 || this.#isWriteBack) return;
    process.passTime(sealMs);
    const every = this.#random.between(1, 2);
    const outcome = process.packNow(this.#contents, wantedContents(this.#oracle.now), {
      isChosen: (segId) => segId % every === 0,
      isOver: () => process.failure !== undefined,
    });
    const report = outcome?.ok === true ? `packed ${outcome.value.packedSegIds.join(', ')}` : '';
    this.#options.trace?.(outcome?.ok === false ? outcome.error.message : report);
  }

  #drive(process: StoreProcess, client: Client, count: number): void {
    const random = this.#random;
    drive({
      process,
      client,
      oracle: this.#oracle,
      workload: this.#workload,
      count,
      queueDepth: () => random.between(1, queueDepthMax),
      isOver: () => process.failure !== undefined,
      between: () => {
        process.runSome(random.below(6));
      },
    });
  }

  /** Recovers, perhaps through more faults, and checks; returns the machine for the next life. */
  #recover(stopped: Machine): Machine {
    const mark = this.#oracle.mark();
    let machine = stopped;
    for (let tries = this.#random.below(3); tries > 0; tries -= 1) {
      machine = this.#crash(machine);
      const plan = this.#random.chance(0.5) ? this.#badPage(machine) : this.#plan(12);
      this.#at(`recovery with ${plan.what}`);
      const process = this.#process(machine, plan);
      this.#opens(process, plan);
      process.kill();
    }
    machine = this.#crash(machine);
    this.#at('recovery in peace');
    machine.image.capacityBytes = Number.MAX_SAFE_INTEGER;
    const process = this.#process(machine, undefined);
    process.open();
    const observed = process.observe(this.#contents);
    const state = this.#oracle.verifyUnordered(mark, true, observed);
    process.requireEqualRebuild();
    process.kill();
    this.#oracle = new Oracle(this.#contents, state);
    return machine;
  }

  #crash(machine: Machine): Machine {
    const styles = [LossStyle.none, LossStyle.sectors, LossStyle.mostly] as const;
    const crash = this.#random.chance(0.4)
      ? kill
      : loss(this.#random.pick(styles), this.#random.next());
    this.#at(describeCrash(crash));
    return crashed(machine, crash);
  }
}
