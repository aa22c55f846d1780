/**
 * The oracle: every operation in the order in which the store published it, the state after each, and what a client
 * may count on.
 *
 *     states   0 ── 1 ── 2 ── 3 ── 4 ── 5 ── 6        one per published operation
 *                             │         │    └ submitted, not answered: may be there
 *                             │         └ published (answered)
 *                             └ durable: answered by a durable volume, or before a flush that was answered
 *
 * A crash is a mark in this order. The run goes on beyond the mark (on another copy of the disk), so the order of the
 * operations that were in flight at the crash becomes known: the recovered pool must equal the state after exactly one
 * prefix, not shorter than what was promised and not longer than what was submitted.
 */
import { toError } from '../../src/base/errors.ts';
import { ExtentState } from '../../src/device/block-device.ts';
import { type ContentId, type ContentTable, zeroContent } from './content.ts';
import {
  allocatedZero,
  applyOp,
  type Blocks,
  clearParts,
  describeOp,
  luStateBytes,
  type ModelOp,
  type ModelSnapshot,
  type ModelVolume,
  type PoolState,
  readContent,
} from './model.ts';

export interface OpRecord {
  readonly op: ModelOp;
  readonly isDurable: boolean;
}

/** What was promised when the process or machine stopped. */
export interface CrashMark {
  readonly publishedCount: number;
  readonly durableCount: number;
  readonly inFlight: ReadonlySet<OpRecord>;
}

/** What a recovered pool turned out to hold. */
export interface Recovered {
  /** Operations of the log that survived. */
  readonly count: number;
  readonly state: PoolState;
}

/** A block that the store refused to read. */
export const unreadable: ContentId = -2;

export interface ObservedDevice {
  readonly sizeBytes: number;
  /** One per block: content, or `unreadable`. */
  readonly contents: readonly ContentId[];
  /** One per block, as `extents` says: data, hole or zero. */
  readonly states: readonly number[];
}

export interface ObservedVolume extends ObservedDevice {
  /** The state of the identity, as it is. */
  readonly luState: Uint8Array | undefined;
  readonly snapshotByName: ReadonlyMap<string, ObservedDevice>;
}

export type ObservedPool = ReadonlyMap<string, ObservedVolume>;

/** The store broke a promise. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** What broke a run, where it was then, and the command that shows it again. */
export function explained(thrown: unknown, where: string, replay: string): Violation {
  const error = toError(thrown);
  return new Violation(
    `${where}: ${error.message}\nreplay: node test/sim/main.ts ${replay} --verbose\n` +
      (error instanceof Violation ? '' : (error.stack ?? '')),
  );
}

const differencesMax = 12;

export class Oracle {
  readonly contents: ContentTable;
  readonly #states: PoolState[];
  readonly #order: OpRecord[] = [];
  readonly #inFlight = new Set<OpRecord>();
  /** Operations that ended without an answer: they may or may not be in the log, in any order. */
  readonly #unresolved: OpRecord[] = [];
  #durableCount = 0;

  constructor(contents: ContentTable, start: PoolState) {
    this.contents = contents;
    this.#states = [start];
  }

  /** The state after everything published. */
  get now(): PoolState {
    return this.state(this.#order.length);
  }

  get publishedCount(): number {
    return this.#order.length;
  }

  get inFlightCount(): number {
    return this.#inFlight.size;
  }

  state(count: number): PoolState {
    const state = this.#states[count];
    if (state === undefined) throw new Error(`no state after ${count} operations`);
    return state;
  }

  submit(op: ModelOp, isDurable: boolean): OpRecord {
    const record = { op, isDurable };
    this.#inFlight.add(record);
    return record;
  }

  publish(record: OpRecord): void {
    this.#inFlight.delete(record);
    this.#states.push(applyOp(this.now, record.op, this.contents));
    this.#order.push(record);
    if (record.isDurable) this.#durableCount = this.#order.length;
  }

  /** The store refused it before it could have any effect. */
  refuse(record: OpRecord): void {
    this.#inFlight.delete(record);
  }

  /** The store failed while it was in flight: nobody knows. */
  unresolve(record: OpRecord): void {
    this.#inFlight.delete(record);
    this.#unresolved.push(record);
  }

  /** A flush that was submitted when `publishedCount` operations were published has been answered. */
  flushed(publishedCount: number): void {
    this.#durableCount = Math.max(this.#durableCount, publishedCount);
  }

  mark(): CrashMark {
    return {
      publishedCount: this.#order.length,
      durableCount: this.#durableCount,
      inFlight: new Set([...this.#inFlight, ...this.#unresolved]),
    };
  }

  /**
   * The state that the recovered pool shows. Throws Violation when it is none that the mark allows. `isMachineLost`: what was only published need not have survived.
   */
  verify(mark: CrashMark, isMachineLost: boolean, observed: ObservedPool): Recovered {
    const low = isMachineLost ? mark.durableCount : mark.publishedCount;
    let high = mark.publishedCount;
    while (high < this.#order.length && this.#wasInFlight(mark, high)) high += 1;
    for (let count = high; count >= low; count -= 1) {
      const state = this.state(count);
      if (differences(state, observed, this.contents, 1).length === 0) return { count, state };
    }
    for (let count = high - 1; count >= low; count -= 1) {
      const state = this.#tornClear(count, observed);
      if (state !== undefined) return { count, state };
    }
    throw new Violation(this.#explain(low, high, observed));
  }

  /** The state in which operation `index`, a ragged zero or trim, is there only in parts; undefined when that is not it. */
  #tornClear(index: number, observed: ObservedPool): PoolState | undefined {
    const op = this.#order[index]?.op;
    if (op?.kind !== 'zero' && op?.kind !== 'trim') return undefined;
    const parts = clearParts(op);
    for (let choice = 1; choice < 2 ** parts.length - 1; choice += 1) {
      let state = this.state(index);
      for (const [bit, part] of parts.entries()) {
        if ((choice & (1 << bit)) !== 0) state = applyOp(state, part, this.contents);
      }
      if (differences(state, observed, this.contents, 1).length === 0) return state;
    }
    return undefined;
  }

  #wasInFlight(mark: CrashMark, index: number): boolean {
    const record = this.#order[index];
    return record !== undefined && mark.inFlight.has(record);
  }

  #explain(low: number, high: number, observed: ObservedPool): string {
    const lines = [
      `the recovered pool equals no prefix of the log between ${low} and ${high} operations`,
    ];
    for (const record of this.#order.slice(Math.max(0, low - 2), high)) {
      lines.push(`  operation ${this.#order.indexOf(record) + 1}: ${describeOp(record.op)}`);
    }
    for (const count of new Set([low, high])) {
      lines.push(`  against the state after ${count}:`);
      const found = differences(this.state(count), observed, this.contents, differencesMax);
      for (const difference of found) lines.push(`    ${difference}`);
    }
    return lines.join('\n');
  }

  /**
   * For an end whose order nobody knows (the store failed): every block must hold what some choice of the operations
   * in flight leaves, each of them whole or absent; names and sizes likewise.
   */
  verifyUnordered(mark: CrashMark, isMachineLost: boolean, observed: ObservedPool): PoolState {
    const low = isMachineLost ? mark.durableCount : mark.publishedCount;
    const inFlight = [...mark.inFlight].flatMap(({ op }) => partsOf(op));
    for (let count = mark.publishedCount; count >= low; count -= 1) {
      const found = this.#search(this.state(count), inFlight, observed, { left: searchStepsMax });
      if (found !== undefined) return found;
    }
    throw new Violation(
      [
        `the recovered pool follows from no choice of ${inFlight.length} operations in flight`,
        ...inFlight.map((op) => `  in flight: ${describeOp(op)}`),
        ...differences(this.state(mark.publishedCount), observed, this.contents, differencesMax),
      ].join('\n'),
    );
  }

  #search(
    state: PoolState,
    rest: readonly ModelOp[],
    observed: ObservedPool,
    budget: { left: number },
  ): PoolState | undefined {
    if (differences(state, observed, this.contents, 1).length === 0) return state;
    budget.left -= 1;
    if (budget.left < 0) return undefined;
    for (const op of rest) {
      const found = this.#search(
        applyOp(state, op, this.contents),
        rest.filter((other) => other !== op),
        observed,
        budget,
      );
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** What a crash may tear apart: a zero or trim has parts, everything else is one. */
function partsOf(op: ModelOp): readonly ModelOp[] {
  return op.kind === 'zero' || op.kind === 'trim' ? clearParts(op) : [op];
}

const searchStepsMax = 20_000;

/** How a device differs from what it must be, in words. */
function* deviceDifferences(
  what: string,
  expected: ModelSnapshot,
  observed: ObservedDevice,
  contents: ContentTable,
): Generator<string> {
  if (expected.sizeBytes !== observed.sizeBytes) {
    yield `${what}: ${observed.sizeBytes} bytes instead of ${expected.sizeBytes}`;
    return;
  }
  for (let block = 0; block < observed.contents.length; block += 1) {
    const actual = observed.contents[block] ?? zeroContent;
    const wanted = readContent(expected.blocks, block);
    const state = observed.states[block] ?? ExtentState.data;
    if (actual !== wanted) {
      const shown = actual === unreadable ? 'an I/O error' : contents.describe(actual);
      yield `${what} block ${block}: ${shown} instead of ${contents.describe(wanted)}`;
    } else if (state !== extentOf(expected.blocks, block)) {
      yield `${what} block ${block}: extent state ${state} is wrong`;
    }
  }
}

function extentOf(blocks: Blocks, block: number): ExtentState {
  const content = blocks.get(block);
  if (content === undefined) return ExtentState.hole;
  return content === allocatedZero ? ExtentState.zero : ExtentState.data;
}

const noBytes = new Uint8Array(0);

function* volumeDifferences(
  volume: ModelVolume,
  observed: ObservedVolume,
  contents: ContentTable,
): Generator<string> {
  yield* deviceDifferences(volume.name, volume, observed, contents);
  const luState = volume.luState === undefined ? undefined : luStateBytes(volume.luState);
  if (Buffer.compare(luState ?? noBytes, observed.luState ?? noBytes) !== 0) {
    yield `${volume.name}: not the state ${volume.luState ?? '(none)'}`;
  }
  for (const name of observed.snapshotByName.keys()) {
    if (!volume.snapshotByName.has(name)) yield `unexpected snapshot ${volume.name}@${name}`;
  }
  for (const [name, snapshot] of volume.snapshotByName) {
    const what = `${volume.name}@${name}`;
    const seen = observed.snapshotByName.get(name);
    if (seen === undefined) yield `snapshot ${what} is missing`;
    else yield* deviceDifferences(what, snapshot, seen, contents);
  }
}

function* poolDifferences(
  state: PoolState,
  observed: ObservedPool,
  contents: ContentTable,
): Generator<string> {
  const names = new Set([...state.values()].map((volume) => volume.name));
  for (const name of observed.keys()) if (!names.has(name)) yield `unexpected volume ${name}`;
  for (const volume of state.values()) {
    const actual = observed.get(volume.name);
    if (actual === undefined) yield `volume ${volume.name} is missing`;
    else yield* volumeDifferences(volume, actual, contents);
  }
}

/** How the observed pool differs from `state`, in words; at most `max`. */
export function differences(
  state: PoolState,
  observed: ObservedPool,
  contents: ContentTable,
  max: number,
): string[] {
  return poolDifferences(state, observed, contents).take(max).toArray();
}
