/**
 * One random run over windows and automatic pins: volumes with policies of seconds and minutes, writes, long pauses, rollbacks,
 * crashes. Every state that a volume ever had is noted; the store must open those that its policy promises, with their
 * content, refuse those that it has given up, and never take back what it said of a horizon.
 *
 *     write ─▶ note ─▶ time ─▶ write ─▶ note ─▶ crash ─▶ time ...
 *                ▲───────────────▲── kept by rule?   yes: opened and compared     no: refused, with what is kept beside it
 */
import { present } from '../../src/base/assert.ts';
import { parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import type { VolumeState } from '../../src/volume/catalogue/catalogue.ts';
import { HorizonReason } from '../../src/volume/catalogue/retention-records.ts';
import { positionOf } from '../../src/volume/format/address.ts';
import type { OpenChanges } from '../../src/volume/pool.ts';
import { submitBlockOp } from './block-op.ts';
import { anyCrash, crashed } from './crash.ts';
import { readNumbers } from './history-look.ts';
import { applied, contentOf, hole, type PoolModel } from './history-model.ts';
import { Machine } from './machine.ts';
import { explained, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

export interface WindowRunOptions {
  readonly seed: number;
  /** A store that keeps less, or more, than it says. */
  readonly mistake?: (volume: VolumeState) => void;
  readonly trace?: (line: string) => void;
}

export interface WindowRunResult {
  readonly lives: number;
  readonly opened: number;
  readonly refused: number;
  /** Times that a pool short of space asked for some of the past and got it, and that it was guaranteed. */
  readonly shortened: number;
  readonly guaranteed: number;
}

/** A state that a volume had from `position` on, until the next one. */
interface Note {
  readonly position: number;
  readonly timeMs: number;
  readonly blocks: readonly number[];
}

type Horizons = ReadonlyMap<string, Pick<VolumeState, 'horizon'> & { readonly lastPin: number }>;

const eventsMax = 400_000;
const stepMs = 10_000;
/** The steward looks every `stepMs`, and may be late by one. */
const slackMs = 2 * stepMs + 2000;
const leaseMs = 600_000;
const lockMs = 1e9;
const blockCount = 12;
const policies = [
  'all:0',
  'all:30s',
  'all:2m',
  'all:0,10s:5m',
  'all:20s,10s:2m,1m:30m',
  'all:1m,30s:10m,5m:2h',
  'all:5m/64K,1m:20m',
  'all:unlimited',
];

export function windowRun(options: WindowRunOptions): WindowRunResult {
  return new WindowRun(options).run();
}

class WindowRun {
  readonly #options: WindowRunOptions;
  readonly #random: SeededRandom;
  readonly #notes = new Map<string, Note[]>();
  /** When it was last asked for in this life, by volume and position. */
  #asked = new Map<string, number>();
  #process: StoreProcess;
  #machine = new Machine();
  /** Of each volume at the last look. */
  readonly #seen = new Map<
    string,
    { readonly horizon: VolumeState['horizon']; readonly windowMs: number }
  >();
  /** Since when its tiers are kept: its policy was set, or a pool short of space took pins. */
  readonly #policyMs = new Map<string, number>();
  /** Volumes whose windows are guaranteed, as far as that was answered. */
  readonly #guaranteed = new Set<string>();
  /** Volumes that have a locked snapshot. */
  readonly #locked = new Set<string>();
  readonly #hasWallSteps: boolean;
  /** The newest time that the wall clock ever told. */
  #poolMs = 0;
  #state: PoolModel = new Map();
  #sequence = 0;
  #lives = 1;
  #opened = 0;
  #refused = 0;
  #shortenedCount = 0;
  #guaranteedCount = 0;
  #where = 'start';

  constructor(options: WindowRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 17);
    this.#hasWallSteps = this.#random.chance(0.4);
    this.#process = this.#start();
  }

  run(): WindowRunResult {
    try {
      this.#process.open();
      for (const name of ['a', 'b', 'c'].slice(0, this.#random.between(1, 3))) this.#create(name);
      const steps = this.#random.between(30, 90);
      for (let step = 0; step < steps; step += 1) this.#step();
      this.#process.requireSoundMark();
      // It looks at everything: a quarter of the runs is enough.
      if (this.#options.seed % 4 === 0) this.#process.requireSoundUpkeep();
      else this.#process.requireEqualRebuild();
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `windows, seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind windows --seed ${seed}`);
    }
    const [lives, opened, refused] = [this.#lives, this.#opened, this.#refused];
    const [shortened, guaranteed] = [this.#shortenedCount, this.#guaranteedCount];
    return { lives, opened, refused, shortened, guaranteed };
  }

  #start(): StoreProcess {
    return new StoreProcess({
      machine: this.#machine,
      random: this.#random.fork(2),
      segmentSlots: 64,
      trace: (line) => {
        this.#options.trace?.(line);
      },
    });
  }

  #step(): void {
    const random = this.#random;
    const chosen = random.below(100);
    if (chosen < 40) this.#write();
    else if (chosen < 62) this.#passTime(random.pick([200, 3000, 15_000, 70_000, 200_000]));
    else if (chosen < 84) this.#lookAtNote();
    else if (chosen < 88) this.#lookAtPins();
    else if (chosen < 90) this.#rollback();
    else if (chosen < 91) this.#lock();
    else if (chosen < 93) this.#stepWall();
    else if (chosen < 95) this.#setPolicy();
    else if (chosen < 96) this.#setGuarantee();
    else if (chosen < 98) this.#shorten();
    else this.#crash();
    this.#requirePromises();
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  #try<T>(what: string, call: (done: (outcome: Outcome<T>) => void) => void): Outcome<T> {
    let outcome: Outcome<T> | undefined;
    this.#at(what);
    call((answer) => {
      outcome = answer;
    });
    this.#process.runUntil(() => outcome !== undefined, eventsMax, what);
    return present<Outcome<T>>(outcome, 'answer');
  }

  #ask<T>(what: string, call: (done: (outcome: Outcome<T>) => void) => void): T {
    const answer = this.#try(what, call);
    if (!answer.ok) throw new Violation(`${what}: ${answer.error.message}`);
    return answer.value;
  }

  #create(name: string): void {
    const text = this.#options.seed % 3 === 0 ? 'all:unlimited' : this.#random.pick(policies);
    const policy = present(parseCdpPolicy(text), 'policy');
    const isGuaranteed = this.#random.chance(0.3);
    this.#ask(`create ${name}`, (done) => {
      const sizeBytes = blockCount * blockSizeBytes;
      this.#process.pool.volumeCreate({ name, sizeBytes, policy, isGuaranteed }, done);
    });
    if (isGuaranteed) this.#guaranteed.add(name);
    const blocks = Array.from({ length: blockCount }, () => hole);
    this.#state = new Map([
      ...this.#state,
      [name, { blocks, source: undefined, left: [], changeCount: 0 }],
    ]);
    this.#note(name);
  }

  /** What the volume holds from now on. */
  #note(name: string): void {
    const position = positionOf(this.#process.pool.durableThrough, 0);
    const blocks = present(this.#state.get(name), 'volume').blocks;
    const notes = this.#notes.get(name) ?? [];
    this.#poolMs = Math.max(this.#poolMs, this.#process.wallMs);
    this.#notes.set(name, [...notes, { position, timeMs: this.#poolMs, blocks }]);
  }

  #write(): void {
    const random = this.#random;
    const volume = random.pick([...this.#state.keys()]);
    const first = random.below(blockCount);
    const count = random.between(1, blockCount - first);
    const kind = random.chance(0.8) ? 'write' : 'trim';
    this.#sequence += 1;
    const op = { volume, kind, first, count, sequence: this.#sequence } as const;
    this.#at(`${kind} ${volume} ${first}+${count}`);
    let isDone = false;
    submitBlockOp(this.#process, op, () => {
      isDone = true;
    });
    this.#process.runUntil(() => isDone, eventsMax, 'answer to data');
    this.#state = applied(this.#state, op);
    this.#note(volume);
  }

  #passTime(durationMs: number): void {
    this.#at(`time: ${durationMs}`);
    const before = this.#horizons();
    this.#process.passTime(durationMs);
    this.#requireForward(before);
  }

  #stepWall(): void {
    if (!this.#hasWallSteps) return;
    this.#poolMs = Math.max(this.#poolMs, this.#process.wallMs);
    this.#process.stepWall(this.#random.between(-40_000, 40_000));
  }

  #setPolicy(): void {
    const volume = this.#random.pick([...this.#state.keys()]);
    const policy = present(parseCdpPolicy(this.#random.pick(policies)), 'policy');
    const { pins, horizon } = this.#process.pool.volume(volume);
    // One without pins gets those of its past.
    const sinceMs = pins.length > 0 ? this.#process.wallMs : (horizon?.timeMs ?? 0);
    this.#ask(`policy of ${volume}`, (done) => {
      this.#process.pool.retention.setPolicy({ volume, policy }, done);
    });
    this.#policyMs.set(volume, sinceMs);
    this.#process.runSome(20);
  }

  #setGuarantee(): void {
    const volume = this.#random.pick([...this.#state.keys()]);
    const isGuaranteed = this.#random.chance(0.5);
    this.#ask(`guarantee of ${volume}: ${isGuaranteed}`, (done) => {
      this.#process.pool.retention.setPolicy({ volume, isGuaranteed }, done);
    });
    if (isGuaranteed) this.#guaranteed.add(volume);
    else this.#guaranteed.delete(volume);
  }

  /** A pool that is short of space asks for some of the past. */
  #shorten(): void {
    const name = this.#random.pick([...this.#state.keys()]);
    const { retention } = this.#process.pool;
    const { horizon: before } = this.#process.pool.volume(name);
    const keepMs = this.#random.below(100_000);
    const after = this.#ask<VolumeState['horizon']>(`shorten ${name}`, (done) => {
      retention.advanceHorizon({ volume: name, keepMs, reason: HorizonReason.poolFull }, done);
    });
    const isMoved = after?.reason === HorizonReason.poolFull && after.position !== before?.position;
    const pinCount = this.#ask<number>(`pins of ${name}`, (done) => {
      retention.expirePins({ volume: name, keepMs }, done);
    });
    if (this.#guaranteed.has(name)) {
      this.#guaranteedCount += 1;
      if (isMoved || pinCount > 0) throw new Violation(`${name} is guaranteed, and was shortened`);
      return;
    }
    if (isMoved || pinCount > 0) this.#shortenedCount += 1;
    this.#policyMs.set(name, this.#process.wallMs);
  }

  /** A snapshot that is locked stays; whoever asks for its end in vain is told so. */
  #lock(): void {
    const { pool } = this.#process;
    const volume = this.#random.pick([...this.#state.keys()]);
    const target = { volume, name: 'locked' };
    if (!pool.volume(volume).snapshotByName.has(target.name)) {
      this.#ask(`snapshot of ${volume}`, (done) => {
        pool.snapshotCreate([target], done);
      });
    }
    const isLocked = this.#random.chance(0.7);
    const lockedUntilMs = isLocked ? Math.ceil(this.#process.wallMs + lockMs) : 0;
    this.#ask(`lock of ${volume}: ${isLocked}`, (done) => {
      pool.retention.locks.set({ ...target, lockedUntilMs, force: true }, done);
    });
    if (isLocked) this.#locked.add(volume);
    else this.#locked.delete(volume);
    const removed = this.#try(`delete of the snapshot of ${volume}`, (done) => {
      pool.snapshotDelete(target, done);
    });
    if (removed.ok === isLocked)
      throw new Violation(`${volume}: a lock of ${lockedUntilMs} is void`);
  }

  #rollback(): void {
    const name = this.#random.pick([...this.#state.keys()]);
    const note = this.#random.pick(present(this.#notes.get(name), 'notes'));
    const outcome = this.#expect(name, note.position, (done) => {
      this.#process.pool.volumeRollback({ name, to: `position:${note.position}` }, done);
    });
    if (outcome === undefined) return;
    const model = present(this.#state.get(name), 'volume');
    this.#state = new Map([...this.#state, [name, { ...model, blocks: note.blocks }]]);
    this.#note(name);
  }

  /** A crash, often in the middle of what the steward does; what was told of horizons and pins holds afterwards. */
  #crash(): void {
    if (this.#random.chance(0.5)) this.#process.passTime(this.#random.between(1, 2 * stepMs));
    else this.#process.runSome(this.#random.between(1, 40));
    this.#at('crash');
    const before = this.#horizons();
    if (this.#random.chance(0.3)) this.#process.close();
    else this.#process.kill();
    this.#machine = crashed(this.#process.machine, anyCrash(this.#random, 0.5));
    this.#lives += 1;
    this.#asked = new Map();
    this.#process = this.#start();
    this.#at('open');
    this.#process.open();
    this.#requireForward(before);
    for (const [name, { blocks }] of this.#state) {
      this.#requireBlocks(name, readNumbers(this.#process, this.#process.openVolume(name)), blocks);
    }
  }

  #horizons(): Horizons {
    const { pool } = this.#process;
    return new Map(
      pool
        .volumes()
        .map(({ name, horizon, pins }) => [name, { horizon, lastPin: pins.last()?.cut ?? 0 }]),
    );
  }

  #requireForward(before: Horizons): void {
    for (const [name, { horizon, lastPin }] of this.#horizons()) {
      const was = before.get(name);
      if ((horizon?.position ?? 0) < (was?.horizon?.position ?? 0)) {
        throw new Violation(`the horizon of ${name} went back`);
      }
      const { policy } = this.#process.pool.volume(name);
      if (policy.tiers.length > 0 && lastPin < (was?.lastPin ?? 0)) {
        throw new Violation(`${name} has lost its newest pin`);
      }
    }
  }

  #requirePromises(): void {
    for (const volume of this.#process.pool.volumes()) {
      this.#options.mistake?.(volume);
      if (
        this.#locked.has(volume.name) &&
        (volume.snapshotByName.get('locked')?.lockedUntilMs ?? 0) === 0
      ) {
        throw new Violation(`${volume.name}: its lock is lost`);
      }
      if (volume.isGuaranteed !== this.#guaranteed.has(volume.name)) {
        throw new Violation(`${volume.name}: its guarantee is ${volume.isGuaranteed}`);
      }
      const horizon = volume.horizon;
      const seen = this.#seen.get(volume.name);
      const windowMs = Math.min(volume.policy.windowMs, seen?.windowMs ?? 0);
      if (horizon !== undefined && horizon.position !== seen?.horizon?.position) {
        this.#requireWindow(volume, windowMs);
      }
      this.#requireTiers(volume);
      this.#seen.set(volume.name, { horizon, windowMs: volume.policy.windowMs });
    }
  }

  /** What a horizon gave up was old enough. */
  #requireWindow({ name, horizon, policy }: VolumeState, windowMs: number): void {
    if (horizon === undefined || policy.windowBytes !== undefined) return;
    if (horizon.reason === HorizonReason.poolFull && !this.#guaranteed.has(name)) return;
    const notes = present(this.#notes.get(name), 'notes');
    const poolMs = Math.max(this.#poolMs, this.#process.wallMs);
    if (horizon.timeMs > poolMs - windowMs + slackMs) {
      throw new Violation(`${name} gives up what is ${poolMs - horizon.timeMs} ms old`);
    }
    const older = notes.findLast(({ position }) => position < horizon.position);
    if (older !== undefined && older.timeMs > horizon.timeMs + slackMs) {
      throw new Violation(`${name}: a state of ${older.timeMs} lies before ${horizon.timeMs}`);
    }
  }

  /** What a volume held when a minute, hour ... of a tier ended can be opened, if it held it for a while. */
  #requireTiers({ name, policy, pins, horizon }: VolumeState): void {
    if (this.#hasWallSteps) return;
    const everyMs = policy.tiers[0]?.everyMs ?? 0;
    const nowMs = this.#process.wallMs;
    const notes = present(this.#notes.get(name), 'notes');
    notes.forEach(({ position, timeMs }, index) => {
      const next = notes[index + 1];
      // Of what was never written there is no pin.
      const isEmpty = index === 0;
      if (isEmpty || next === undefined || timeMs < (this.#policyMs.get(name) ?? 0)) return;
      for (const tier of policy.tiers) {
        const settledMs = timeMs + everyMs + slackMs;
        const boundaryMs = Math.ceil(settledMs / tier.everyMs) * tier.everyMs;
        const isHeld = boundaryMs + slackMs < next.timeMs;
        if (!isHeld || nowMs - boundaryMs > tier.keepMs - slackMs) continue;
        const isKept =
          (horizon?.position ?? 0) <= position ||
          [...pins].some(({ cut }) => cut >= position && cut < next.position);
        if (!isKept) throw new Violation(`${name} has lost its state of ${timeMs}, ${boundaryMs}`);
      }
    });
  }

  #lookAtNote(): void {
    const name = this.#random.pick([...this.#state.keys()]);
    const note = this.#random.pick(present(this.#notes.get(name), 'notes'));
    this.#lookAt(name, note.position, [note.blocks]);
  }

  /** Every pin can be opened, and holds what the volume held then. */
  #lookAtPins(): void {
    const name = this.#random.pick([...this.#state.keys()]);
    const notes = present(this.#notes.get(name), 'notes');
    for (const { cut } of [...this.#process.pool.volume(name).pins]) {
      const at = notes.findLastIndex(({ position }) => position <= cut);
      // A pin that was made while something was written may hold that already.
      const states = notes.slice(at, at + 2).map(({ blocks }) => blocks);
      this.#lookAt(name, cut, states);
    }
  }

  #lookAt(name: string, position: number, states: readonly (readonly number[])[]): void {
    const at = `position:${position}`;
    const opened = this.#expect<OpenChanges>(name, position, (done) => {
      this.#process.pool.changesOpen({ volume: name, at, since: at }, done);
    });
    if (opened === undefined) return;
    const seen = readNumbers(this.#process, opened.device).join();
    opened.close();
    if (!states.some((blocks) => blocks.map(contentOf).join() === seen)) {
      throw new Violation(`${name} at ${at} holds ${seen}, not ${states.join(' or ')}`);
    }
  }

  /** Asks for a moment, which must be opened or refused as the rule says. Undefined = refused, rightly. */
  #expect<T>(
    name: string,
    position: number,
    call: (done: (outcome: Outcome<T>) => void) => void,
  ): T | undefined {
    const key = `${name}:${position}`;
    const before = this.#rule(name, position);
    const outcome = this.#try(`${name} at position:${position}`, call);
    const after = this.#rule(name, position);
    if (outcome.ok) {
      if (before === 'given up') throw new Violation(`${key} is given up, and was opened`);
      this.#asked.set(key, this.#process.monotonicMs);
      this.#opened += 1;
      return outcome.value;
    }
    const { message, hint } = outcome.error;
    if (!message.includes('is not kept any more')) throw new Violation(`${key}: ${message}`);
    if (before === 'kept' && after === 'kept') throw new Violation(`${key} is kept: ${message}`);
    if (hint?.includes('behind it') !== true) throw new Violation(`${key}: hint ${hint ?? ''}`);
    this.#refused += 1;
    return undefined;
  }

  #rule(name: string, position: number): 'kept' | 'given up' | 'either' {
    const { horizon, pins, history, snapshotByName } = this.#process.pool.volume(name);
    const undo = history.findLast(({ leftAt }) => leftAt !== undefined)?.leftAt?.position;
    const isKept =
      position >= (horizon?.position ?? 0) ||
      position === undo ||
      snapshotByName.get('locked')?.cut === position ||
      [...pins].some(({ cut }) => cut === position);
    if (isKept) return 'kept';
    const askedMs = this.#asked.get(`${name}:${position}`);
    if (askedMs === undefined) return 'given up';
    const ageMs = this.#process.monotonicMs - askedMs;
    // Asked for by name, not to the millisecond when.
    if (Math.abs(ageMs - leaseMs) < stepMs) return 'either';
    return ageMs < leaseMs ? 'kept' : 'given up';
  }

  #requireBlocks(what: string, seen: readonly number[], blocks: readonly number[]): void {
    const expected = blocks.map(contentOf);
    if (seen.join() !== expected.join()) {
      throw new Violation(`${what} holds ${seen.join()} instead of ${expected.join()}`);
    }
  }
}
