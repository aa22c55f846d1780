/**
 * One random run over the past of a pool: data and catalogue operations one step after the other, and after each step a note
 * of what every volume holds. Any noted moment must be found again, by position and by time, in whatever life of the
 * store: as a view, a rollback, a refresh, a snapshot named afterwards, one side of a diff, an end of a search.
 *
 *     step ─▶ note ─▶ step ─▶ note ─▶ crash ─▶ step ─▶ note ...
 *               ▲───────────────▲── views, diffs, snapshots of earlier notes, compared with the model
 */
import { present } from '../../src/base/assert.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { type BlockDevice, blockSizeBytes } from '../../src/device/block-device.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import type { Diff } from '../../src/volume/history.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { submitBlockOp } from './block-op.ts';
import { anyCrash, crashed } from './crash.ts';
import { bitmapBlocks, diffBlocks, readNumbers } from './history-look.ts';
import {
  applied,
  type BlockOp,
  changedBlocks,
  contentOf,
  hole,
  type NotedMoment,
  type PoolModel,
  replaced,
  reverted,
  type VolumeModel,
} from './history-model.ts';
import { Machine } from './machine.ts';
import { explained, Violation } from './oracle.ts';
import { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

/** What a store that is wrong does to the moments it is asked for. */
export type MomentMistake = (at: string, notes: readonly NotedMoment[]) => string;

export interface HistoryRunOptions {
  readonly seed: number;
  readonly mistake?: MomentMistake;
  readonly trace?: (line: string) => void;
}

export interface HistoryRunResult {
  readonly lives: number;
  readonly steps: number;
  readonly comparisons: number;
}

type Place = Diff['from'];
type ChangesDone = Parameters<Pool['changesOpen']>[1];

const eventsMax = 200_000;
const volumesMax = 5;
const names = 'a b c d e f g h i j k l m n o p q r s t u v w x y z'.split(' ');

export function historyRun(options: HistoryRunOptions): HistoryRunResult {
  return new HistoryRun(options).run();
}

class HistoryRun {
  readonly #options: HistoryRunOptions;
  readonly #random: SeededRandom;
  readonly #segmentSlots: number;
  readonly #notes: NotedMoment[] = [];
  #process: StoreProcess;
  #machine = new Machine();
  #state: PoolModel = new Map();
  #sequence = 0;
  #snapshots = 0;
  #lives = 1;
  #steps = 0;
  #comparisons = 0;
  #newestMs = 0;
  #where = 'start';

  constructor(options: HistoryRunOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed * 2 + 11);
    this.#segmentSlots = this.#random.pick([24, 32, 64, 128]);
    this.#process = this.#start();
  }

  run(): HistoryRunResult {
    try {
      this.#process.open();
      this.#create();
      const steps = this.#random.between(20, 90);
      while (this.#steps < steps) {
        this.#step();
        this.#process.requireSoundMark();
      }
    } catch (thrown) {
      const { seed } = this.#options;
      const where = `history, seed ${seed}, life ${this.#lives}, ${this.#where}`;
      throw explained(thrown, where, `--kind history --seed ${seed}`);
    }
    return { lives: this.#lives, steps: this.#steps, comparisons: this.#comparisons };
  }

  #at(where: string): void {
    this.#where = where;
    this.#options.trace?.(`life ${this.#lives}: ${where}`);
  }

  #start(): StoreProcess {
    return new StoreProcess({
      machine: this.#machine,
      random: this.#random.fork(2),
      segmentSlots: this.#segmentSlots,
      trace: (line) => {
        this.#options.trace?.(line);
      },
    });
  }

  #step(): void {
    const random = this.#random;
    this.#steps += 1;
    const chosen = random.below(100);
    if (chosen < 38) this.#data();
    else if (chosen < 43) this.#create();
    else if (chosen < 50) this.#resize();
    else if (chosen < 58) this.#views();
    else if (chosen < 64) this.#rollback();
    else if (chosen < 68) this.#undo();
    else if (chosen < 72) this.#refresh();
    else if (chosen < 80) this.#pastSnapshot();
    else if (chosen < 90) this.#compare();
    else if (chosen < 94) this.#between();
    else if (chosen < 96) this.#process.stepWall(random.between(-20_000, 20_000));
    else if (chosen < 98) this.#delete();
    else this.#crash();
  }

  // --- steps -------------------------------------------------------------------------------------------------------

  #ask<T>(what: string, call: (done: (outcome: Outcome<T>) => void) => void): T {
    let outcome: Outcome<T> | undefined;
    this.#at(what);
    call((answer) => {
      outcome = answer;
    });
    this.#process.runUntil(() => outcome !== undefined, eventsMax, what);
    const answer = present<Outcome<T>>(outcome, 'answer');
    if (!answer.ok) throw new Violation(`${what}: ${answer.error.message}`);
    return answer.value;
  }

  /** Notes what every volume holds now. */
  #note(batch: readonly BlockOp[] = []): void {
    const { history } = this.#process.pool;
    const [name = ''] = this.#state.keys();
    const now = this.#ask<Place>('now', (done) => history.resolve(name, 'now', done));
    const position = now.moment.cut;
    const at = `position:${position}`;
    const newest = this.#ask<Place>(at, (done) => history.resolve(name, at, done));
    const isTold = now.timeMs > this.#newestMs && newest.timeMs <= now.timeMs;
    this.#newestMs = Math.max(this.#newestMs, now.timeMs);
    const timeMs = isTold ? now.timeMs : undefined;
    const { wallOffsetMs } = this.#process.machine;
    this.#notes.push({ position, timeMs, wallOffsetMs, state: this.#state, batch });
    // What comes next is of another tick of the clock.
    this.#process.runSome(4);
  }

  #data(): void {
    const batch = Array.from({ length: this.#random.between(1, 6) }, () => this.#blockOp());
    this.#at(`data ${JSON.stringify(batch)}`);
    let pending = batch.length;
    for (const op of batch) {
      submitBlockOp(this.#process, op, () => {
        pending -= 1;
      });
      this.#state = applied(this.#state, op);
    }
    this.#process.runUntil(() => pending === 0, eventsMax, 'answers to data');
    this.#note(batch);
  }

  #blockOp(): BlockOp {
    const random = this.#random;
    const volume = this.#anyVolume();
    const size = this.#model(volume).blocks.length;
    const first = random.below(size);
    const count = random.between(1, Math.min(size - first, random.chance(0.8) ? 3 : 16));
    const kind = random.pick(['write', 'write', 'write', 'trim', 'zero', 'thick-zero'] as const);
    if (kind === 'write') this.#sequence += 1;
    return { volume, kind, first, count, sequence: this.#sequence };
  }

  #create(): void {
    const name = this.#freeName();
    if (name === undefined) return;
    const blockCount = this.#random.between(8, 48);
    const ack = this.#random.chance(0.3) ? AckMode.writeBack : AckMode.durable;
    const sizeBytes = blockCount * blockSizeBytes;
    this.#ask(`create ${name}`, (done) => {
      this.#process.pool.volumeCreate({ name, sizeBytes, ack }, done);
    });
    const blocks = Array.from({ length: blockCount }, () => hole);
    this.#set(name, { blocks, source: undefined, left: [], changeCount: 0 });
  }

  #resize(): void {
    const name = this.#anyVolume();
    const volume = this.#model(name);
    const blockCount = this.#random.between(8, 48);
    this.#ask(`resize ${name} to ${blockCount}`, (done) => {
      const sizeBytes = blockCount * blockSizeBytes;
      this.#process.pool.volumeResize({ name, sizeBytes, force: true }, done);
    });
    const blocks = Array.from({ length: blockCount }, (_, at) => volume.blocks[at] ?? hole);
    this.#set(name, { ...volume, blocks, changeCount: volume.changeCount + 1 });
  }

  /** Views of one or two volumes at one cut. */
  #views(): void {
    const note = this.#anyNote();
    const sources = [...note.state.keys()].filter((name) => this.#isSame(name, note)).slice(0, 2);
    const free = names.filter((name) => !this.#isUsed(name));
    const room = Math.min(volumesMax - this.#state.size, free.length, sources.length);
    const targets = sources
      .slice(0, room)
      .map((source, index) => ({ source, name: present(free[index], 'free name') }));
    if (targets.length === 0) return;
    const at = this.#nameOf(note);
    this.#ask(`views ${JSON.stringify(targets)} at ${at}`, (done) => {
      const wrong = this.#options.mistake?.(at, this.#notes) ?? at;
      this.#process.pool.viewsCreate({ targets, at: wrong, isClone: false }, done);
    });
    for (const { source, name } of targets) {
      const { blocks } = present(note.state.get(source), 'source');
      this.#state = replaced(this.#state, name, { blocks, source, left: [], changeCount: 0 });
    }
    this.#note();
    for (const { name } of targets) this.#requireHead(name);
  }

  #rollback(): void {
    const note = this.#anyNote();
    const [name] = this.#sharedWith(note);
    if (name === undefined) return;
    const to = this.#nameOf(note);
    this.#ask(`rollback ${name} to ${to}`, (done) => {
      this.#process.pool.volumeRollback({ name, to }, done);
    });
    const { blocks } = present(note.state.get(name), 'volume of then');
    this.#set(name, reverted(this.#model(name), blocks));
    this.#requireHead(name);
  }

  #undo(): void {
    const name = this.#anyVolume();
    const volume = this.#model(name);
    const blocks = volume.left.at(-1);
    if (blocks === undefined) return;
    this.#ask(`undo ${name}`, (done) => {
      this.#process.pool.volumeUndoRollback(name, done);
    });
    this.#set(name, reverted(volume, blocks));
    this.#requireHead(name);
  }

  #refresh(): void {
    const note = this.#anyNote();
    const shared = new Set(this.#sharedWith(note));
    const view = [...this.#state].find(
      ([, { source }]) => source !== undefined && shared.has(source),
    );
    if (view === undefined) return;
    const [name, model] = view;
    const at = this.#nameOf(note);
    this.#ask(`refresh ${name} to ${at}`, (done) => {
      this.#process.pool.viewRefresh({ name, at }, done);
    });
    const { blocks } = present(note.state.get(model.source ?? ''), 'source of then');
    this.#set(name, reverted(model, blocks));
    this.#requireHead(name);
  }

  #delete(): void {
    if (this.#state.size < 2) return;
    const name = this.#anyVolume();
    this.#ask(`delete ${name}`, (done) => {
      this.#process.pool.volumeDelete({ name, force: true }, done);
    });
    this.#state = replaced(this.#state, name, undefined);
    this.#note();
  }

  /** A snapshot of a moment that has passed, looked at at once. */
  #pastSnapshot(): void {
    const note = this.#anyNote();
    const [volume] = this.#sharedWith(note);
    if (volume === undefined) return;
    this.#snapshots += 1;
    const name = `past${this.#snapshots}`;
    const at = this.#nameOf(note);
    const { pool } = this.#process;
    this.#ask(`snapshot ${volume}@${name} at ${at}`, (done) => {
      pool.snapshotCreate([{ volume, name }], done, at);
    });
    const opened = this.#ask(
      `open ${volume}@${name}`,
      (done: (o: Outcome<{ device: BlockDevice; close(): void }>) => void) => {
        pool.snapshotOpen(volume, name, done);
      },
    );
    this.#require(opened.device, note.state.get(volume)?.blocks ?? []);
    opened.close();
    this.#note();
  }

  // --- comparisons -------------------------------------------------------------------------------------------------

  /** Two moments of one volume: contents of the one, what differs from the other, and how many changes lie between. */
  #compare(): void {
    const notes = [this.#anyNote(), this.#anyNote()];
    const [from, to] = notes as [NotedMoment, NotedMoment];
    const shared = new Set(this.#sharedWith(from));
    const volume = this.#sharedWith(to).find((name) => shared.has(name));
    if (volume === undefined) return;
    const { pool } = this.#process;
    const [since, at] = [this.#nameOf(from), this.#nameOf(to)];
    const opened = this.#ask(`${volume} at ${at} since ${since}`, (done: ChangesDone) => {
      pool.changesOpen({ volume, at, since }, done);
    });
    const before = present(from.state.get(volume), 'model');
    const after = present(to.state.get(volume), 'model');
    this.#require(opened.device, after.blocks);
    const expected = changedBlocks(before.blocks, after.blocks);
    this.#requireBlocks(
      bitmapBlocks(this.#process, opened.diff, after.blocks.length, this.#random),
      expected,
      'bitmap',
    );
    opened.close();
    const between = { volume, from: since, to: at };
    this.#requireBlocks(diffBlocks(this.#process, between, this.#random), expected, 'diff');
    // A time behind the last record may mean any position up to the next one.
    if (from.position === to.position) return;
    const isForward = from.position < to.position;
    const [first, last] = isForward ? [since, at] : [at, since];
    const changes = this.#ask('changes', (done: Parameters<typeof pool.history.changes>[2]) => {
      pool.history.changes({ volume, from: first, to: last }, () => {}, done);
    });
    const count = Math.abs(after.changeCount - before.changeCount);
    if (changes.changeCount !== count) {
      throw new Violation(`${changes.changeCount} changes of ${volume} instead of ${count}`);
    }
  }

  /** A position inside a batch shows a beginning of it, the same one in every volume. */
  #between(): void {
    const index = this.#notes.findLastIndex(({ batch }) => batch.length > 1);
    const [before, after] = [this.#notes[index - 1], this.#notes[index]];
    if (before === undefined || after === undefined) return;
    const position = this.#random.between(before.position, after.position);
    const at = `position:${position}`;
    const volumes = this.#sharedWith(before).filter((name) => after.state.has(name));
    const seen = volumes.map((volume) => {
      const { pool } = this.#process;
      const opened = this.#ask(`${volume} at ${at}`, (done: ChangesDone) => {
        pool.changesOpen({ volume, at, since: at }, done);
      });
      const contents = readNumbers(this.#process, opened.device);
      opened.close();
      return contents.join();
    });
    let { state } = before;
    const beginnings = [undefined, ...after.batch].map((op) => {
      if (op !== undefined) state = applied(state, op);
      return volumes.map((name) => state.get(name)?.blocks.map(contentOf).join() ?? '');
    });
    this.#comparisons += 1;
    const isOne = beginnings.some((each) => each.every((text, which) => text === seen[which]));
    if (!isOne) throw new Violation(`${at} is no beginning of ${JSON.stringify(after.batch)}`);
  }

  #requireHead(name: string): void {
    this.#require(this.#process.openVolume(name), this.#model(name).blocks);
  }

  #require(device: BlockDevice, blocks: readonly number[]): void {
    const seen = readNumbers(this.#process, device);
    this.#comparisons += 1;
    const expected = blocks.map(contentOf);
    if (seen.join() !== expected.join()) {
      throw new Violation(
        `${device.name} differs\n  is        ${seen.join(' ')}\n  should be ${expected.join(' ')}`,
      );
    }
  }

  #requireBlocks(seen: readonly number[], expected: readonly number[], what: string): void {
    this.#comparisons += 1;
    if (seen.join() === expected.join()) return;
    throw new Violation(`${what}: blocks ${seen.join(' ')} instead of ${expected.join(' ')}`);
  }

  /** Everything noted is durable: no crash may take it or move it. */
  #crash(): void {
    this.#at('crash');
    const isClean = this.#random.chance(0.3);
    if (isClean) this.#process.close();
    else this.#process.kill();
    this.#machine = crashed(this.#process.machine, anyCrash(this.#random, 0.5));
    this.#lives += 1;
    this.#process = this.#start();
    this.#at('open');
    this.#process.open();
    for (const name of this.#state.keys()) this.#requireHead(name);
    this.#process.requireSoundUpkeep();
  }

  #set(name: string, volume: VolumeModel): void {
    this.#state = replaced(this.#state, name, volume);
    this.#note();
  }

  #model(name: string): VolumeModel {
    return present(this.#state.get(name), 'volume of the model');
  }

  #anyVolume(): string {
    return this.#random.pick([...this.#state.keys()]);
  }

  #anyNote(): NotedMoment {
    return this.#random.pick(this.#notes);
  }

  /** A name is never used for a second volume: an earlier moment of it would be another's. */
  #freeName(): string | undefined {
    if (this.#state.size >= volumesMax) return undefined;
    return names.find((name) => !this.#isUsed(name));
  }

  #isUsed(name: string): boolean {
    return this.#notes.some(({ state }) => state.has(name));
  }

  /** Whether the volume of that name is the one that it was then. */
  #isSame(name: string, note: NotedMoment): boolean {
    if (!this.#state.has(name) || !note.state.has(name)) return false;
    const from = this.#notes.indexOf(note);
    return this.#notes.slice(from).every(({ state }) => state.has(name));
  }

  #sharedWith(note: NotedMoment): string[] {
    return [...note.state.keys()].filter((name) => this.#isSame(name, note));
  }

  /** By position or by time. */
  #nameOf({ position, timeMs, wallOffsetMs }: NotedMoment): string {
    // Before a clock that was set back has caught up, the moment is in its future.
    const isPast = this.#process.machine.wallOffsetMs >= wallOffsetMs;
    if (timeMs === undefined || !isPast || this.#random.chance(0.4)) return `position:${position}`;
    return new Date(Math.floor(timeMs))
      .toISOString()
      .replace('Z', `${String(Math.floor((timeMs % 1) * 100)).padStart(2, '0')}Z`);
  }
}
