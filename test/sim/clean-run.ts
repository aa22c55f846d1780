/**
 * One random run on a pool that gives space back: data, snapshots, views, rollbacks, resizes, deletes and windows in any order, and
 * in between passes of the cleaner, beside which clients write. At random points of passes the process or the machine dies; the
 * manifest of the next life may be an earlier one, or gone. After each pass and in each new life everything that must be kept is
 * compared with the model: heads, snapshots, pins, and past moments of volumes that keep all of them.
 *
 *     step ─▶ step ─▶ pass of the cleaner ──●──▶ compare ─▶ step ...      ● here, and nothing in flight: a copy of the machine
 *                                           └ kill or loss ─▶ open ─▶ compare ─▶ step ...
 */
import { present } from '../../src/base/assert.ts';
import { unlimitedCdp } from '../../src/base/cdp-policy.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { blockSizeBytes } from '../../src/device/block-device.ts';
import type { CleanerPass } from '../../src/volume/reports.ts';
import { submitBlockOp } from './block-op.ts';
import { lookAtAll, openSnapshot, requireBlocks } from './clean-look.ts';
import {
  anyBlockOp,
  anyPlace,
  anyPolicy,
  type CleanRunResult,
  changeManifest,
  type Fork,
  type KeptVolume,
  Names,
  type PoolModel,
  requireLittleLeft,
  resized,
} from './clean-model.ts';
import { anyCrash, crashed, describeCrash } from './crash.ts';
import { applied, hole } from './history-model.ts';
import { Machine } from './machine.ts';
import { explained, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

export interface CleanRunOptions {
  readonly seed: number;
  readonly trace?: (line: string) => void;
}

type Done<T> = (outcome: Outcome<T>) => void;

const eventsMax = 400_000;
const volumesMax = 5;
/** Horizons follow within so much. */
const retentionMs = 25_000;
export function cleanRun(options: CleanRunOptions): CleanRunResult {
  return new CleanRun(options).run();
}

class CleanRun {
  readonly #options: CleanRunOptions;
  readonly #random: SeededRandom;
  readonly #segmentSlots: number;
  #machine = new Machine();
  #process: StoreProcess;
  #model: PoolModel = { volumes: new Map(), snapshots: new Map(), notes: [], pins: new Map() };
  #fork: Fork | undefined;
  /** Changes of the disk until the fork is taken; 0 = none is wanted. */
  #pointsLeft = 0;
  /** Requests and operations that are not answered. */
  #inFlight = 0;
  readonly #names: Names;
  #sequence = 0;
  #where = 'start';
  readonly #result = {
    lives: 1,
    passes: 0,
    packs: 0,
    packsReplaced: 0,
    crashes: 0,
    comparisons: 0,
  };

  constructor(options: CleanRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 17);
    this.#names = new Names(this.#random);
    this.#segmentSlots = this.#random.pick([24, 32, 48, 64]);
    this.#process = this.#start();
  }

  run(): CleanRunResult {
    try {
      this.#process.open();
      this.#create();
      for (let left = this.#random.between(30, 100); left > 0; left -= 1) this.#step();
      this.#requireSpaceBack();
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `cleaning, seed ${seed}, life ${this.#result.lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind clean --seed ${seed}`);
    }
    return this.#result;
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#result.lives}: ${where}`);
  }

  #start(): StoreProcess {
    return new StoreProcess({
      machine: this.#machine,
      random: this.#random.fork(2),
      segmentSlots: this.#segmentSlots,
      trace: (line) => {
        this.#options.trace?.(line);
      },
      onPoint: (what) => {
        if (this.#pointsLeft === 0 || this.#inFlight > 0) return;
        this.#pointsLeft -= 1;
        if (this.#pointsLeft > 0) return;
        this.#fork = { what, machine: this.#machine.copy(), model: this.#model };
      },
    });
  }

  #step(): void {
    const chosen = this.#random.below(115);
    if (chosen < 42) this.#data();
    else if (chosen < 48) this.#cloneBlocks();
    else if (chosen < 55) this.#snapshot();
    else if (chosen < 62) this.#snapshotDelete();
    else if (chosen < 68) this.#view();
    else if (chosen < 72) this.#rollback();
    else if (chosen < 74) this.#undo();
    else if (chosen < 78) this.#create();
    else if (chosen < 82 && this.#model.volumes.size > 1) this.#deleteAny();
    else if (chosen < 84) this.#giveUpWindow();
    else if (chosen < 94) this.#clean();
    else if (chosen < 97) this.#crash();
    else if (chosen < 103) this.#resize();
    else this.#timeOrView();
  }

  #timeOrView(): void {
    if (this.#random.chance(0.3)) this.#changeView();
    else this.#process.passTime(this.#random.pick([100, 2000, 11_000, retentionMs, 61_000]));
  }

  // --- steps -------------------------------------------------------------------------------------------------------

  #ask<T>(what: string, call: (done: Done<T>) => void): T {
    this.#at(what);
    const answer = this.#answer(what, call);
    if (!answer.ok) throw new Violation(`${what}: ${answer.error.message}`);
    return answer.value;
  }

  #answer<T>(what: string, call: (done: Done<T>) => void): Outcome<T> {
    let outcome: Outcome<T> | undefined;
    this.#inFlight += 1;
    call((answer) => {
      outcome = answer;
    });
    this.#process.runUntil(() => outcome !== undefined, eventsMax, what);
    this.#inFlight -= 1;
    return present<Outcome<T>>(outcome, 'answer');
  }

  #data(): void {
    const volume = this.#anyVolume();
    const size = this.#volume(volume).blocks.length;
    const batch = Array.from({ length: this.#random.between(2, 10) }, () => {
      this.#sequence += 1;
      return anyBlockOp(volume, size, this.#sequence, this.#random);
    });
    this.#at(`data ${JSON.stringify(batch)}`);
    let { volumes } = this.#model;
    for (const op of batch) {
      this.#submit((done) => {
        submitBlockOp(this.#process, op, done);
      });
      volumes = applied(volumes, op) as ReadonlyMap<string, KeptVolume>;
    }
    this.#process.runUntil(() => this.#inFlight === 0, eventsMax, 'answers to data');
    this.#change({ volumes });
  }

  #submit(request: (done: () => void) => void): void {
    this.#inFlight += 1;
    request(() => {
      this.#inFlight -= 1;
    });
  }

  /** Blocks of one volume, or of a snapshot, shared with another place. */
  #cloneBlocks(): void {
    const random = this.#random;
    const target = this.#anyVolume();
    const snapshots = [...this.#model.snapshots.keys()];
    const from = random.chance(0.5) && snapshots.length > 0 ? random.pick(snapshots) : undefined;
    const source = from ?? this.#anyVolume();
    const blocks = this.#model.snapshots.get(source) ?? this.#volume(source).blocks;
    const size = this.#volume(target).blocks.length;
    const count = random.between(1, Math.min(blocks.length, size, 8));
    const first = random.below(blocks.length - count + 1);
    const to = random.below(size - count + 1);
    const isOverlap = source === target && Math.abs(first - to) < count;
    if (isOverlap) return;
    this.#at(`clone ${count} blocks of ${source} at ${first} to ${target} at ${to}`);
    const opened = from === undefined ? undefined : openSnapshot(this.#process, source);
    const device = opened?.device ?? this.#process.openVolume(source);
    const op = { volume: target, kind: 'clone' as const, first: to, count, sequence: 0 };
    this.#submit((done) => {
      submitBlockOp(this.#process, op, done, { device, first });
    });
    this.#process.runUntil(() => this.#inFlight === 0, eventsMax, 'the clone');
    opened?.close();
    const shared = blocks.slice(first, first + count);
    const copied = this.#volume(target).blocks.toSpliced(to, count, ...shared);
    this.#setVolume(target, { ...this.#volume(target), blocks: copied });
  }

  #snapshot(): void {
    const volume = this.#anyVolume();
    const name = this.#names.another('s');
    this.#ask(`snapshot ${volume}@${name}`, (done: Done<unknown>) => {
      this.#process.pool.snapshotCreate([{ volume, name }], done);
    });
    const { blocks } = this.#volume(volume);
    this.#change({ snapshots: new Map(this.#model.snapshots).set(`${volume}@${name}`, blocks) });
  }

  #snapshotDelete(): void {
    const key = this.#anySnapshot();
    if (key === undefined) return;
    const [volume = '', name = ''] = key.split('@');
    this.#ask(`delete ${key}`, (done: Done<unknown>) => {
      this.#process.pool.snapshotDelete({ volume, name }, done);
    });
    const snapshots = new Map(this.#model.snapshots);
    snapshots.delete(key);
    this.#change({ snapshots });
  }

  /** A view or a clone of now, of a snapshot, or of a moment that is kept. */
  #view(): void {
    if (this.#model.volumes.size >= volumesMax) return;
    const place = anyPlace(this.#model, this.#anyVolume(), this.#random);
    const name = this.#names.another('v');
    const isClone = this.#random.chance(0.4);
    const { source, at, blocks } = place;
    this.#ask(`view ${name} of ${source} at ${at}`, (done: Done<unknown>) => {
      this.#process.pool.viewCreate({ source, name, at, isClone }, done);
    });
    // Views begin with the window of their source.
    const keepsAll = this.#process.pool.volume(name).policy.windowMs === Number.POSITIVE_INFINITY;
    const { id: sourceId } = this.#volume(source);
    const id = this.#names.newId();
    this.#setVolume(name, { id, sourceId, blocks, source, left: [], changeCount: 0, keepsAll });
    this.#requireHead(name);
  }

  /** A view becomes a volume, or goes on with what its source holds now. */
  #changeView(): void {
    const { pool } = this.#process;
    const name = this.#anyVolume();
    const { source = '', sourceId } = this.#volume(name);
    if (pool.volume(name).view === undefined) return;
    const from = this.#model.volumes.get(source);
    if (from?.id !== sourceId || this.#random.chance(0.3)) {
      this.#ask(`promote ${name}`, (done: Done<unknown>) => {
        pool.viewPromote(name, done);
      });
    } else if (from !== undefined) {
      this.#ask(`refresh ${name}`, (done: Done<unknown>) => {
        pool.viewRefresh({ name, at: 'now' }, done);
      });
      this.#reverted(name, from.blocks);
    }
  }

  #resize(): void {
    const name = this.#anyVolume();
    const volume = this.#volume(name);
    const blocks = resized(volume.blocks, this.#random);
    const sizeBytes = blocks.length * blockSizeBytes;
    this.#ask(`resize ${name} to ${sizeBytes}`, (done: Done<unknown>) => {
      this.#process.pool.volumeResize({ name, sizeBytes, force: true }, done);
    });
    this.#setVolume(name, { ...volume, blocks });
  }

  #rollback(): void {
    const name = this.#anyVolume();
    const { at, blocks } = anyPlace(this.#model, name, this.#random);
    if (at === 'now') return;
    this.#ask(`rollback ${name} to ${at}`, (done: Done<unknown>) => {
      this.#process.pool.volumeRollback({ name, to: at }, done);
    });
    this.#reverted(name, blocks);
  }

  #reverted(name: string, blocks: readonly number[]): void {
    const volume = this.#volume(name);
    this.#setVolume(name, { ...volume, blocks, left: [...volume.left, volume.blocks] });
    this.#requireHead(name);
  }

  /** Only what the newest rollback left is kept for certain. */
  #undo(): void {
    const name = this.#anyVolume();
    const blocks = this.#volume(name).left.at(-1);
    if (blocks === undefined) return;
    this.#ask(`undo ${name}`, (done: Done<unknown>) => {
      this.#process.pool.volumeUndoRollback(name, done);
    });
    this.#reverted(name, blocks);
  }

  #create(): void {
    if (this.#model.volumes.size >= volumesMax) return;
    const name = this.#names.another('d');
    const blockCount = this.#random.between(16, 64);
    const keepsAll = this.#random.chance(0.3);
    const sizeBytes = blockCount * blockSizeBytes;
    const policy = keepsAll ? unlimitedCdp : anyPolicy(this.#random);
    this.#ask(`create ${name}`, (done: Done<unknown>) => {
      this.#process.pool.volumeCreate({ name, sizeBytes, policy }, done);
    });
    const blocks = Array.from({ length: blockCount }, () => hole);
    const lineage = { source: undefined, sourceId: undefined, left: [], changeCount: 0 };
    this.#setVolume(name, { id: this.#names.newId(), ...lineage, blocks, keepsAll });
  }

  #deleteAny(): void {
    const name = this.#anyVolume();
    this.#ask(`delete ${name}`, (done: Done<unknown>) => {
      this.#process.pool.volumeDelete({ name, force: true }, done);
    });
    const volumes = new Map(this.#model.volumes);
    volumes.delete(name);
    this.#names.free(name);
    const left = [...this.#model.snapshots].filter(([key]) => !key.startsWith(`${name}@`));
    this.#change({ volumes, snapshots: new Map(left) });
  }

  #giveUpWindow(): void {
    const name = this.#anyVolume();
    const policy = anyPolicy(this.#random);
    this.#ask(`another window for ${name}`, (done: Done<unknown>) => {
      this.#process.pool.retention.setPolicy({ volume: name, policy }, done);
    });
    this.#setVolume(name, { ...this.#volume(name), keepsAll: false });
  }

  // --- the cleaner -------------------------------------------------------------------------------------------------

  /** A pass, often with writes beside it, often cut off. */
  #clean(): void {
    const random = this.#random;
    this.#pointsLeft = random.chance(0.5) ? random.between(1, random.pick([8, 40, 120])) : 0;
    this.#at(`clean, cut off after ${this.#pointsLeft} points`);
    const passes: Outcome<CleanerPass>[] = [];
    this.#process.pool.cleaner.run(
      () => {},
      (outcome) => {
        passes.push(outcome);
      },
    );
    for (let left = random.below(5); left > 0 && this.#fork === undefined; left -= 1) {
      this.#process.runSome(random.below(60));
      this.#stepBeside();
    }
    this.#at('clean');
    this.#process.runUntil(
      () => passes.length > 0 || this.#fork !== undefined,
      eventsMax,
      'the pass of the cleaner',
    );
    this.#pointsLeft = 0;
    if (this.#takeFork()) return;
    const [pass] = passes;
    if (pass?.ok !== true) throw new Violation(`no pass: ${pass?.error.message ?? ''}`);
    this.#result.passes += 1;
    this.#result.packs += pass.value.packCount;
    this.#result.packsReplaced += pass.value.packsReplaced;
    this.#requireAll();
    if (random.chance(0.3)) this.#process.requireSoundUpkeep();
  }

  #stepBeside(): void {
    const chosen = this.#random.below(5);
    if (chosen < 2) this.#data();
    else if (chosen === 2) this.#snapshotDelete();
    else if (chosen === 3) this.#snapshot();
    else this.#view();
  }

  /** Whether the run goes on in another life, from the fork. */
  #takeFork(): boolean {
    const fork = this.#fork;
    this.#fork = undefined;
    if (fork === undefined) return false;
    this.#process.kill();
    const crash = anyCrash(this.#random, 0.4);
    this.#at(`clean, ${fork.what}: ${describeCrash(crash)}`);
    this.#result.crashes += 1;
    this.#model = fork.model;
    this.#live(crashed(fork.machine, crash));
    return true;
  }

  #crash(): void {
    const isClean = this.#random.chance(0.4);
    this.#at(isClean ? 'close' : 'crash');
    if (isClean) this.#process.close();
    else this.#process.kill();
    this.#live(crashed(this.#process.machine, anyCrash(this.#random, 0.5)));
  }

  #live(machine: Machine): void {
    this.#machine = machine;
    changeManifest(machine, this.#random);
    this.#result.lives += 1;
    this.#process = this.#start();
    const where = this.#where;
    this.#process.open();
    this.#requireAll();
    this.#at(where);
    if (this.#random.chance(0.4)) this.#process.requireSoundUpkeep();
  }

  // --- comparisons -------------------------------------------------------------------------------------------------

  /** All that is kept; then the mark and all blocks. */
  #requireAll(): void {
    const { model, comparisons } = lookAtAll(this.#process, this.#model, this.#random);
    this.#model = model;
    this.#result.comparisons += comparisons;
    this.#process.requireSoundMark();
  }

  /** When all is deleted, what is left are the segments that the log is in, and packs of nothing. */
  #requireSpaceBack(): void {
    while (this.#model.volumes.size > 0) this.#deleteAny();
    // Leases end, horizons move, and the segments up to here are sealed.
    this.#process.passTime(20 * retentionMs);
    this.#process.close();
    this.#machine = this.#process.machine;
    this.#process = this.#start();
    this.#process.open();
    this.#process.passTime(2 * retentionMs);
    const pass = this.#ask('the last pass', (done: Done<CleanerPass>) => {
      this.#process.pool.cleaner.run(() => {}, done);
    });
    this.#result.packs += pass.packCount;
    requireLittleLeft(this.#process.pool, this.#segmentSlots);
  }

  #requireHead(name: string): void {
    this.#result.comparisons += 1;
    requireBlocks(this.#process, this.#process.openVolume(name), this.#volume(name).blocks);
  }

  // --- the model ---------------------------------------------------------------------------------------------------

  #change(change: Partial<PoolModel>): void {
    this.#model = { ...this.#model, ...change };
    this.#note();
  }

  #setVolume(name: string, volume: KeptVolume): void {
    this.#change({ volumes: new Map(this.#model.volumes).set(name, volume) });
  }

  /** What all volumes hold now is remembered by its position. */
  #note(): void {
    const { volumes, notes } = this.#model;
    const [name] = volumes.keys();
    if (name === undefined) return;
    const { history } = this.#process.pool;
    const where = this.#where;
    const now = this.#ask('now', (done: Done<{ moment: { cut: number } }>) => {
      history.resolve(name, 'now', done);
    });
    this.#at(where);
    this.#model = { ...this.#model, notes: [...notes, { position: now.moment.cut, volumes }] };
    // What comes next is of another tick of the clock.
    this.#process.runSome(4);
  }

  #volume(name: string): KeptVolume {
    return present(this.#model.volumes.get(name), 'volume of the model');
  }

  #anyVolume(): string {
    return this.#random.pick([...this.#model.volumes.keys()]);
  }

  #anySnapshot(): string | undefined {
    const keys = [...this.#model.snapshots.keys()];
    return keys.length === 0 ? undefined : this.#random.pick(keys);
  }
}
