/**
 * Full pools: a pool of few segments is written until it refuses, crashed, opened, and given space again. What was acknowledged
 * stays, deletes are never refused, trims and snapshots only when a flood of them has used up their reserve, and all is taken
 * again when there is space.
 *
 *     life: ops until full ── more of them ── crash, recovery crashed, too ── recovered: contents, rebuild, thick or thin
 *            ├─ now and then: trims without end, one at a time ───────────────┤
 *            └─ now and then: made larger, or cleaned, until it takes writes ─┘
 *
 * In some runs it is the file system that is small, and others use it, too: they take space and give it back while the pool
 * works, but the last segments.
 */
import type { Outcome } from '../../src/base/errors.ts';
import { toHex } from '../../src/base/uuid.ts';
import { Provisioning } from '../../src/volume/catalogue/records.ts';
import { HorizonReason } from '../../src/volume/catalogue/retention-records.ts';
import type { CleanerPass } from '../../src/volume/reports.ts';
import { Client } from './client.ts';
import { ContentTable } from './content.ts';
import { crashed, describeCrash, kill, loss } from './crash.ts';
import { drive } from './drive.ts';
import { Machine } from './machine.ts';
import { explained, Oracle, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';
import { LossStyle, pageSizeBytes } from './virtual-file.ts';
import { Workload } from './workload.ts';

export interface FullRunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

export interface FullRunResult {
  readonly lives: number;
  /** Lives in which the pool was full, and in which it took writes again. */
  readonly full: number;
  readonly relieved: number;
  /** Times that cleaning gave space back. */
  readonly cleaned: number;
  /** Volumes of which a full pool took some of the past, and of which it might not. */
  readonly shortened: number;
  readonly guaranteed: number;
  /** How often others took space of the file system, and how often the pool was full for it and had it back. */
  readonly taken: number;
  readonly returned: number;
}

const eventsMax = 400_000;
/** More in flight than this, and nobody can try all their orders. */
const queueDepthMax = 4;
/** So often horizons move. */
const retentionStepMs = 10_000;
const segmentBytes = 64 * pageSizeBytes;
/** Others leave the pool so much, as they do not know that it is about to take more. */
const othersLeaveSegments = 5;
/** So long after space is back it counts. */
const settleMs = 2000;
/** All that is kept for others than the cleaner. */
const reserveShare = 0.015;
const tenMinutes = {
  windowMs: 600_000,
  windowBytes: undefined,
  tiers: [{ everyMs: 60_000, keepMs: 3_600_000 }],
};

/** Throws Violation, naming the seed, when the store breaks a promise. */
export function fullRun(options: FullRunOptions): FullRunResult {
  return new FullRun(options).run();
}

class FullRun {
  readonly #options: FullRunOptions;
  readonly #random: SeededRandom;
  readonly #contents = new ContentTable();
  readonly #workload: Workload;
  readonly #capacityBytes: number;
  /** What volumes were made, by id, as far as it was answered; undefined: asked for, and not answered. */
  readonly #provisioning = new Map<string, Provisioning | undefined>();
  #oracle: Oracle;
  #where = 'start';
  #lives = 0;
  #full = 0;
  #relieved = 0;
  #cleaned = 0;
  #shortened = 0;
  #guaranteed = 0;
  #taken = 0;
  #returned = 0;
  /** The file system, not the capacity, is what is small. */
  readonly #isDiskSmall: boolean;
  /** What others leave of the file system when they take nothing. */
  readonly #diskBytes: number;

  constructor(options: FullRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 9);
    this.#diskBytes = this.#random.between(24, 60) * segmentBytes;
    this.#isDiskSmall = this.#random.chance(0.4);
    this.#capacityBytes = this.#isDiskSmall
      ? 1024 * segmentBytes
      : this.#random.between(16, 60) * segmentBytes;
    this.#workload = new Workload(this.#random.fork(5), {
      largestWriteBlocks: 48,
      hasRagged: false,
      isWriteBack: this.#random.chance(0.2),
    });
    this.#oracle = new Oracle(this.#contents, new Map());
  }

  run(): FullRunResult {
    try {
      let machine = new Machine();
      if (this.#isDiskSmall) machine.image.capacityBytes = this.#diskBytes;
      const lives = this.#random.between(2, 5);
      while (this.#lives < lives) machine = this.#life(machine);
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `full pools, seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind full --seed ${seed}`);
    }
    const [lives, full, relieved, cleaned] = [
      this.#lives,
      this.#full,
      this.#relieved,
      this.#cleaned,
    ];
    const [shortened, guaranteed] = [this.#shortened, this.#guaranteed];
    const [taken, returned] = [this.#taken, this.#returned];
    return { lives, full, relieved, cleaned, shortened, guaranteed, taken, returned };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  #process(machine: Machine): StoreProcess {
    const { trace } = this.#options;
    return new StoreProcess({
      machine,
      random: this.#random.fork(6),
      capacityBytes: this.#capacityBytes,
      ...(trace === undefined ? {} : { trace }),
    });
  }

  #life(machine: Machine): Machine {
    this.#lives += 1;
    this.#at('open');
    const process = this.#process(machine);
    process.open();
    const client = new Client(process, this.#oracle, 'full', (what) => {
      this.#options.trace?.(`  ${what}`);
    });
    this.#operate(process, client, this.#random.between(20, 250));
    if (isFull(process)) {
      this.#full += 1;
      if (this.#isDiskSmall && this.#random.chance(0.4)) this.#return(process, client);
      if (this.#random.chance(0.4)) this.#flood(process, client);
      if (this.#random.chance(0.3)) this.#starve(process, client);
      if (this.#random.chance(0.5)) this.#clean(process, client);
      else if (this.#random.chance(0.6)) this.#relieve(process, client);
      // Full: for these only deletes and the like make a difference.
      this.#operate(process, client, this.#random.between(5, 40));
    }
    if (this.#random.chance(0.7)) this.#settle(process, client);
    process.kill();
    return this.#recover(machine);
  }

  #operate(process: StoreProcess, client: Client, count: number): void {
    const random = this.#random;
    drive({
      process,
      client,
      oracle: this.#oracle,
      workload: this.#workload,
      count,
      queueDepth: () => random.between(1, queueDepthMax),
      isOver: () => false,
      between: () => {
        process.runSome(random.below(6));
        if (random.chance(0.02)) this.#provision(process);
        if (random.chance(0.02)) process.passTime(random.between(1, 3000));
        if (this.#isDiskSmall && random.chance(0.05)) this.#others(process.machine);
      },
    });
  }

  /** Others take space, or give it back. */
  #others({ image }: Machine): void {
    const leastBytes = image.usedBytes() + othersLeaveSegments * segmentBytes;
    const share = this.#random.pick([0, 0.3, 0.6, 1]);
    const mostBytes = Math.max(leastBytes, this.#diskBytes);
    image.capacityBytes = Math.floor(leastBytes + share * (mostBytes - leastBytes));
    this.#taken += 1;
    this.#options.trace?.(`  others: ${image.capacityBytes - image.usedBytes()} are free`);
  }

  /** A pool that is full for lack of space below takes writes again when that is back, whoever else had it. */
  #return(process: StoreProcess, client: Client): void {
    this.#settle(process, client);
    this.#at('space of the file system returns');
    const { effectiveCapacityBytes, capacityBytes } = process.pool.space();
    if (effectiveCapacityBytes >= capacityBytes) throw new Violation('full, and nobody says why');
    this.#giveBack(process);
    this.#returned += 1;
    this.#operate(process, client, this.#random.between(5, 40));
  }

  #giveBack(process: StoreProcess): void {
    const { usedBytes, reservedBytes } = process.pool.space();
    const { image } = process.machine;
    const freeBytes = usedBytes + reservedBytes + 40 * segmentBytes;
    image.capacityBytes = Math.max(image.capacityBytes, image.usedBytes() + freeBytes);
    process.passTime(settleMs);
    if (isFull(process)) throw new Violation('a pool with space below takes no writes');
  }

  #settle(process: StoreProcess, client: Client): void {
    process.runUntil(() => client.pendingCount === 0, eventsMax, 'answers');
  }

  /** Makes a volume thick or thin, whatever comes of it. */
  #provision(process: StoreProcess): void {
    const volumes = process.pool.volumes();
    if (volumes.length === 0) return;
    const { name, uuid } = this.#random.pick(volumes);
    const provisioning = this.#random.chance(0.6) ? Provisioning.thick : Provisioning.thin;
    const id = toHex(uuid);
    const before = this.#provisioning.get(id) ?? Provisioning.thin;
    const wasKnown = !this.#provisioning.has(id) || this.#provisioning.get(id) !== undefined;
    this.#provisioning.set(id, undefined);
    process.pool.volumeSetProvisioning({ name, provisioning }, (outcome) => {
      this.#options.trace?.(`  ${name} is ${provisioning}: ${outcome.ok}`);
      if (outcome.ok) this.#provisioning.set(id, provisioning);
      else if (wasKnown) this.#provisioning.set(id, before);
    });
  }

  /** A pool that stays full takes of the past what is not guaranteed, and no more. */
  #starve(process: StoreProcess, client: Client): void {
    this.#settle(process, client);
    this.#at('time in a full pool');
    const { pool } = process;
    for (const { name } of pool.volumes()) {
      const isGuaranteed = this.#random.chance(0.5);
      pool.retention.setPolicy({ volume: name, policy: tenMinutes, isGuaranteed }, (outcome) => {
        if (!outcome.ok)
          throw new Violation(`a full pool takes no policy: ${outcome.error.message}`);
      });
    }
    process.passTime(retentionStepMs);
    const before = new Map(pool.volumes().map(({ name, horizon }) => [name, horizon?.position]));
    process.passTime(this.#random.between(10, 40) * retentionStepMs);
    for (const { name, horizon, isGuaranteed } of pool.volumes()) {
      const isTaken =
        horizon?.reason === HorizonReason.poolFull && horizon.position !== before.get(name);
      if (isTaken && isGuaranteed) throw new Violation(`${name} is guaranteed, and was shortened`);
      if (isTaken) this.#shortened += 1;
      if (isGuaranteed) this.#guaranteed += 1;
    }
  }

  /** Trims, of which each is a frame: what the log grows by is bounded. */
  #flood(process: StoreProcess, client: Client): void {
    this.#settle(process, client);
    this.#at('a flood of trims');
    const random = this.#random;
    const before = process.pool.space();
    const count = random.between(20, 200);
    for (let left = count; left > 0; left -= 1) {
      const volumes = [...this.#oracle.now.values()];
      if (volumes.length === 0) return;
      const { id, sizeBytes } = random.pick(volumes);
      const offset = random.below(sizeBytes / pageSizeBytes) * pageSizeBytes;
      const trim = { kind: 'trim' as const, volume: id, offset, length: pageSizeBytes };
      client.submit({ ...trim, noHole: false }, this.#workload.nextSequence());
      this.#settle(process, client);
    }
    const { usedBytes, cleanerLimitBytes, effectiveCapacityBytes } = process.pool.space();
    this.#options.trace?.(`  flood of ${count}: ${before.usedBytes} before, ${usedBytes} now`);
    // Thick volumes may be beyond the part of trims, runs and packs that are on their way as well.
    const most =
      Math.max(before.usedBytes, cleanerLimitBytes) + effectiveCapacityBytes * reserveShare;
    if (usedBytes > most) throw new Violation(`trims took ${usedBytes} bytes, more than ${most}`);
  }

  /** Nothing of the past is kept any more, and the cleaner has a pass, or a part of one. */
  #clean(process: StoreProcess, client: Client): void {
    this.#settle(process, client);
    this.#at('cleaning');
    const { retention, cleaner } = process.pool;
    const policy = { windowMs: 0, windowBytes: undefined, tiers: [] };
    for (const { name } of process.pool.volumes()) {
      retention.setPolicy({ volume: name, policy }, (outcome) => {
        if (!outcome.ok)
          throw new Violation(`a full pool keeps its past: ${outcome.error.message}`);
      });
    }
    process.passTime(3 * retentionStepMs);
    const before = process.pool.space().usedBytes;
    let pass: Outcome<CleanerPass> | undefined;
    cleaner.run(
      () => {},
      (outcome) => {
        pass = outcome;
      },
    );
    if (this.#random.chance(0.4)) {
      process.runSome(this.#random.below(200));
      return;
    }
    process.runUntil(() => pass !== undefined, eventsMax, 'the pass of the cleaner');
    if (pass?.ok === false)
      throw new Violation(`a full pool is not cleaned: ${pass.error.message}`);
    process.passTime(2000);
    const { usedBytes, writeLimitBytes, reservedBytes } = process.pool.space();
    this.#options.trace?.(`  cleaned: ${before} before, ${usedBytes} now`);
    if (usedBytes < before) this.#cleaned += 1;
    // A tenth is more than any margin, and what thick volumes may have beyond the limit of thin ones.
    const isRoomy = usedBytes + reservedBytes < writeLimitBytes * 0.9;
    if (isRoomy && isFull(process)) throw new Violation('a pool that was cleaned takes no writes');
  }

  /** More capacity: from then on writes are taken. */
  #relieve(process: StoreProcess, client: Client): void {
    this.#settle(process, client);
    this.#at('more space');
    if (this.#isDiskSmall) {
      this.#giveBack(process);
      this.#relieved += 1;
      return;
    }
    // Twice what is used, and what thick volumes may claim.
    const { usedBytes, reservedBytes } = process.pool.space();
    const capacityBytes = 2 * (usedBytes + reservedBytes) + 40 * segmentBytes;
    let outcome: Outcome<undefined> | undefined;
    process.pool.settings.resize(capacityBytes, (done) => {
      outcome = done;
    });
    process.runUntil(() => outcome !== undefined, eventsMax, 'the resize');
    if (outcome?.ok === false) throw new Violation(outcome.error.message);
    if (isFull(process)) throw new Violation('a pool with space takes no writes');
    const { throttled } = process.pool.space();
    if (throttled.length > 0) throw new Violation('a pool with space slows down writes');
    this.#relieved += 1;
  }

  /** Recovers, perhaps through more crashes, and checks; returns the machine for the next life. */
  #recover(stopped: Machine): Machine {
    const mark = this.#oracle.mark();
    let machine = stopped;
    let isLost = false;
    const crash = (): void => {
      const styles = [LossStyle.none, LossStyle.sectors, LossStyle.mostly] as const;
      const how = this.#random.chance(0.4)
        ? kill
        : loss(this.#random.pick(styles), this.#random.next());
      isLost ||= how.kind === 'loss';
      this.#at(describeCrash(how));
      machine = crashed(machine, how);
      const { image } = machine;
      // What opening takes is there.
      const leastBytes = image.usedBytes() + othersLeaveSegments * segmentBytes;
      image.capacityBytes = Math.max(image.capacityBytes, leastBytes);
    };
    for (let tries = this.#random.below(3); tries > 0; tries -= 1) {
      crash();
      const process = this.#process(machine);
      process.open();
      process.runSome(this.#random.below(40));
      process.kill();
    }
    crash();
    this.#at('recovery');
    const process = this.#process(machine);
    process.open();
    const observed = process.observe(this.#contents);
    const state = this.#oracle.verifyUnordered(mark, isLost, observed);
    process.requireEqualRebuild();
    this.#requireProvisioning(process);
    process.kill();
    this.#oracle = new Oracle(this.#contents, state);
    return machine;
  }

  #requireProvisioning(process: StoreProcess): void {
    const volumes = process.pool.volumes();
    for (const { uuid, name, provisioning } of volumes) {
      const id = toHex(uuid);
      const wanted = this.#provisioning.has(id) ? this.#provisioning.get(id) : Provisioning.thin;
      if (wanted !== undefined && provisioning !== wanted) {
        throw new Violation(`${name} has provisioning ${provisioning}, not ${wanted}`);
      }
      this.#provisioning.set(id, provisioning);
    }
  }
}

function isFull(process: StoreProcess): boolean {
  return process.pool.space().fullReason !== undefined;
}
