/**
 * One random run on a pool with views: programs of writes and of every operation that begins a line in another one, in
 * lives of a store process that end in a crash, in a recovery that is crashed itself, or in a clean close.
 *
 *     life ──ops──●──ops──▶              recovered ──lost at once──▶ recovered again ──▶ next life
 *                 │ fork                    ▲   contents, views, histories, identities, rebuild, verify
 *                 └── kill or loss ─(crash in recovery)*
 *
 * At the crash the machine is forked and the old life runs on until all is answered, which tells the order of the log.
 */
import { present } from '../../src/base/assert.ts';
import { uuidText } from '../../src/base/uuid.ts';
import type { VolumeState } from '../../src/volume/catalogue/catalogue.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import type { StoreVariant } from './broken-stores.ts';
import { ContentTable } from './content.ts';
import { crashed, describeCrash, loss } from './crash.ts';
import { crashedRecoveries } from './crashed-recovery.ts';
import { Machine } from './machine.ts';
import { isDataOp } from './model.ts';
import { differences, explained, type ObservedPool, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { type Mistake, ViewClient } from './view-client.ts';
import { emptyState, lineageOf, type ViewState } from './view-model.ts';
import { type ViewMark, ViewOracle } from './view-oracle.ts';
import { type AckStyle, type NextViewOp, ViewWorkload } from './view-workload.ts';
import { LossStyle } from './virtual-file.ts';

export interface ViewRunOptions {
  readonly seed: number;
  /** The store is right unless a test breaks it on purpose. */
  readonly variant?: StoreVariant;
  readonly mistake?: Mistake;
  readonly trace?: (line: string) => void;
}

export interface ViewRunResult {
  readonly lives: number;
  readonly operations: number;
  readonly crashes: number;
}

interface Fork {
  readonly what: string;
  readonly machine: Machine;
  readonly mark: ViewMark;
}

const eventsMax = 200_000;
/** Changes of the disk while a pool is opened, about. */
const openPointsMax = 30;
/** Crashes inside one recovery after another, at most. */
const recoveryCrashesMax = 2;
const ackStyles: readonly AckStyle[] = ['durable', 'durable', 'mixed', 'write-back'];

/** Throws Violation, naming the seed, when the store breaks a promise. */
export function viewRun(options: ViewRunOptions): ViewRunResult {
  return new ViewRun(options).run();
}

class ViewRun {
  readonly #options: ViewRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #workload: ViewWorkload;
  readonly #queueDepthMax: number;
  readonly #segmentSlots: number;
  readonly #pointsMax: number;
  /** What a volume is known by, for ever. */
  readonly #identityById = new Map<number, string>();
  #oracle: ViewOracle;
  #fork: Fork | undefined;
  /** Changes of the disk in this life until the fork is taken. */
  #pointsLeft = 0;
  #lives = 0;
  #operations = 0;
  #crashes = 0;
  #where = 'start';

  constructor(options: ViewRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 5);
    this.#queueDepthMax = this.#random.pick([1, 2, 4, 8]);
    this.#segmentSlots = this.#random.pick([48, 64, 64, 128]);
    this.#pointsMax = this.#random.pick([30, 100, 250]);
    this.#workload = new ViewWorkload(this.#random.fork(1), this.#random.pick(ackStyles));
    this.#oracle = new ViewOracle(this.#contents, emptyState);
  }

  run(): ViewRunResult {
    try {
      let machine = new Machine();
      const lives = this.#random.between(2, 6);
      while (this.#lives < lives) machine = this.#life(machine);
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `views, seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind views --seed ${seed}`);
    }
    return { lives: this.#lives, operations: this.#operations, crashes: this.#crashes };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  // --- a life ------------------------------------------------------------------------------------------------------

  /** One life on `machine`; returns the machine that the next one finds. */
  #life(machine: Machine): Machine {
    this.#lives += 1;
    this.#fork = undefined;
    this.#pointsLeft = this.#random.chance(0.1) ? this.#random.between(1, openPointsMax) : 0;
    this.#at('open');
    const process = this.#start(machine);
    const isKeeperLate = this.#random.chance(0.4);
    process.holdKeeper(isKeeperLate);
    process.open();
    if (isKeeperLate) this.#lookBeforeSeals(process);
    if (this.#takeFork() === undefined) {
      this.#pointsLeft = this.#random.between(1, this.#pointsMax);
    }
    // Often the maps of moments are not looked at before they are worked with, so that they must be made.
    if (this.#random.chance(0.3)) this.#requireState(process, 'the pool as it was opened');
    this.#at('operations');
    this.#work(process);
    const fork = this.#takeFork();
    if (fork !== undefined) {
      process.kill();
      return this.#recovered(fork);
    }
    this.#requireState(process, 'the pool while it is open');
    this.#requireSound(process);
    this.#at('close');
    process.close();
    this.#begin(this.#oracle.now);
    return machine;
  }

  /** The tail of the life before is not sealed, and maps have given up what they could. */
  #lookBeforeSeals(process: StoreProcess): void {
    process.passTime(this.#random.pick([1, 250]));
    if (this.#random.chance(0.6)) this.#requireState(process, 'the pool before its tail is sealed');
    process.passTime(this.#random.pick([1, 250]));
    if (this.#random.chance(0.6)) this.#requireState(process, 'the same pool a moment later');
    if (this.#random.chance(0.5)) process.holdKeeper(false);
  }

  #takeFork(): Fork | undefined {
    return this.#fork;
  }

  #begin(state: ViewState): void {
    this.#oracle = new ViewOracle(this.#contents, state);
  }

  #start(machine: Machine): StoreProcess {
    return new StoreProcess({
      machine,
      random: this.#random.fork(2),
      variant: this.#options.variant,
      segmentSlots: this.#segmentSlots,
      onPoint: (what) => {
        this.#pointsLeft -= 1;
        if (this.#pointsLeft !== 0) return;
        this.#fork = { what, machine: machine.copy(), mark: this.#oracle.mark() };
      },
    });
  }

  /** Submits operations until the fork was taken or enough is done, and waits for all answers. */
  #work(process: StoreProcess): void {
    const random = this.#random;
    const client = new ViewClient({
      process,
      oracle: this.#oracle,
      mistake: this.#options.mistake,
      onEvent: (what) => {
        this.#options.trace?.(`  ${what}`);
      },
    });
    for (let left = random.between(10, 90); left > 0 && this.#fork === undefined; left -= 1) {
      process.runSome(random.below(8));
      this.#step(process, client);
      const isLookDue = this.#disturb(process);
      if (isLookDue || random.chance(0.04)) {
        process.runUntil(() => client.pendingCount === 0, eventsMax, 'answers');
        this.#requireState(process, 'the pool at work');
      }
    }
    process.runUntil(() => client.pendingCount === 0, eventsMax, 'answers');
    process.holdKeeper(false);
  }

  /**
   * Seldom: time goes by, so that maps are given up; the keeper is late with seals; someone looks at all maps at once. Whether
   * the pool should be looked at.
   */
  #disturb(process: StoreProcess): boolean {
    const random = this.#random;
    if (random.chance(0.04)) process.holdKeeper(random.chance(0.5));
    if (random.chance(0.06)) {
      process.lookAtSpace((message) => {
        throw new Violation(`space cannot be told: ${message}`);
      });
    }
    if (!random.chance(0.08)) return false;
    process.passTime(random.pick([1, 101, 250, 1100]));
    return random.chance(0.5);
  }

  #step(process: StoreProcess, client: ViewClient): void {
    const random = this.#random;
    const wait = (isReady: () => boolean, what: string): void => {
      process.runUntil(isReady, eventsMax, what);
    };
    const depth = random.between(1, this.#queueDepthMax);
    wait(() => client.pendingCount < depth, 'a free place in the queue');
    const volumes = [...this.#oracle.now.volumes.keys()];
    if (volumes.length > 0 && random.chance(0.05) && !client.isCatalogueBusy) {
      client.flush(random.pick(volumes));
      return;
    }
    const next = this.#workload.next(this.#oracle.now, client.isCatalogueBusy);
    if (!this.#waitsItsTurn(next, client, wait)) return;
    client.submit(next.op, next.fua);
    this.#operations += 1;
    if (next.isAlone) wait(() => client.pendingCount === 0, 'its answer');
  }

  /**
   * Lets what must not run beside the operation finish: write-back writes and catalogue operations keep apart, since
   * the order of their answers is not that of the log. False when the operation no longer fits what it waited for.
   */
  #waitsItsTurn(
    { op, isAlone }: NextViewOp,
    client: ViewClient,
    wait: (isReady: () => boolean, what: string) => void,
  ): boolean {
    const wasBusy = client.isCatalogueBusy;
    if (isAlone) wait(() => client.pendingCount === 0, 'an empty queue');
    else if (!isDataOp(op)) wait(() => client.lazyPendingCount === 0, 'no write-back writes');
    else if (this.#oracle.now.volumes.get(op.volume)?.isWriteBack === true) {
      wait(() => !client.isCatalogueBusy, 'no catalogue operation');
    }
    return !isDataOp(op) || !wasBusy || client.isCatalogueBusy;
  }

  // --- a crash -----------------------------------------------------------------------------------------------------

  /** Recovers from the fork and checks; returns the machine of the next life. */
  #recovered(fork: Fork): Machine {
    const left = crashedRecoveries(fork, {
      random: this.#random,
      variant: this.#options.variant,
      segmentSlots: this.#segmentSlots,
      recoveriesMax: recoveryCrashesMax,
      onCrash: (what) => {
        this.#at(what);
      },
    });
    const { machine, isMachineLost } = left;
    this.#crashes += 1 + left.recoveryCount;
    this.#pointsLeft = 0;
    this.#at('recovery');
    const process = this.#start(machine);
    const isKeeperLate = this.#random.chance(0.4);
    process.holdKeeper(isKeeperLate);
    process.open();
    const observed = process.observe(this.#contents);
    const compare = (state: ViewState, max: number): string[] =>
      this.#differences(state, observed, process, max);
    const state = this.#oracle.verify(fork.mark, isMachineLost, compare);
    this.#begin(state);
    this.#at('recovered');
    // Then the next life finds a tail of more than one opening.
    if (!isKeeperLate) this.#requireSound(process);
    process.kill();
    return this.#random.chance(isMachineLost ? 0.2 : 0.6) ? this.#lostAtOnce(machine) : machine;
  }

  /** What a recovery served is durable: the machine is lost, and it is all there. */
  #lostAtOnce(machine: Machine): Machine {
    const crash = loss(LossStyle.none, 0);
    this.#at(`after the recovery ${describeCrash(crash)}`);
    const lost = crashed(machine, crash);
    const process = this.#start(lost);
    process.open();
    this.#requireState(process, 'the pool that was recovered and lost again');
    process.kill();
    return lost;
  }

  // --- checks ------------------------------------------------------------------------------------------------------

  #requireState(process: StoreProcess, what: string): void {
    const observed = process.observe(this.#contents);
    const found = this.#differences(this.#oracle.now, observed, process, 8);
    if (found.length > 0) throw new Violation(`${what} differs\n  ${found.join('\n  ')}`);
  }

  /** The whole log verifies, and footers and manifest are what it says. */
  #requireSound(process: StoreProcess): void {
    const faults = process.verify();
    if (faults.length > 0) throw new Violation(`verify found\n  ${faults.join('\n  ')}`);
    process.requireEqualRebuild();
  }

  #differences(
    state: ViewState,
    observed: ObservedPool,
    process: StoreProcess,
    max: number,
  ): string[] {
    const found = differences(state.volumes, observed, this.#contents, max);
    return found.length >= max ? found : [...found, ...this.#strangers(state, process)];
  }

  /** What is wrong with the volumes themselves: what they are views of, histories, ack modes, identities. */
  #strangers(state: ViewState, process: StoreProcess): string[] {
    const actualByName = new Map(process.pool.volumes().map((volume) => [volume.name, volume]));
    const wrong: string[] = [];
    for (const { id, name, isWriteBack } of state.volumes.values()) {
      const actual = actualByName.get(name);
      if (actual === undefined) continue;
      const source = this.#sourceText(lineageOf(state, id).source, state, actualByName);
      const expected = lineText(lineageOf(state, id).history, source, isWriteBack);
      const shown = lineText(
        actual.history.map((span) => span.reason),
        actual.view === undefined ? 'none' : uuidText(actual.view.sourceUuid),
        actual.ack === AckMode.writeBack,
      );
      const isDeleted = source === 'deleted' && actual.view !== undefined;
      if (shown !== expected && !isDeleted) wrong.push(`${name}: ${shown} instead of ${expected}`);
      if (!this.#isSame(id, actual)) wrong.push(`${name}: another identity`);
    }
    return wrong;
  }

  #sourceText(
    source: number | undefined,
    state: ViewState,
    actualByName: ReadonlyMap<string, VolumeState>,
  ): string {
    if (source === undefined) return 'none';
    const volume = state.volumes.get(source);
    if (volume === undefined) return 'deleted';
    return uuidText(present(actualByName.get(volume.name), 'source').uuid);
  }

  /** Whether it has the identity that it was first seen with. */
  #isSame(id: number, { uuid, naa, serial }: VolumeState): boolean {
    const identity = `${uuidText(uuid)} ${naa.join('.')} ${serial}`;
    const known = this.#identityById.get(id) ?? identity;
    this.#identityById.set(id, known);
    return known === identity;
  }
}

function lineText(history: readonly string[], source: string, isWriteBack: boolean): string {
  return `source ${source}, history ${history.join(' ')}${isWriteBack ? ', write-back' : ''}`;
}
