/**
 * Space report: what an account says of the pool, of each volume and of each snapshot, and what a deletion would free.
 *
 *     present            in the volume's present state           uniqueBytes   no other volume or view has it, in
 *     snapshots          not there, but in one of its snapshots                no snapshot: freed with the volume
 *     undo               in neither, but where undo goes back    sharedBytes   others have it, too
 *     history            in none of these
 */
import { ErrorCode, OperationError, success } from '../../base/errors.ts';
import { uuidText } from '../../base/uuid.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Done, Operator } from '../core/operator.ts';
import { slotSizeBytes } from '../format/address.ts';
import type {
  PoolSpace,
  Progress,
  SnapshotSpace,
  SpaceQuestion,
  VolumeSpace,
  WhatIf,
} from '../reports.ts';
import type { Interval } from './holders.ts';
import type { LivenessMark } from './mark.ts';
import { accountSpace, type SpaceAccount } from './space-account.ts';

/** Makes an account and answers from it. `done` gets OperationError not-found for names that there are not. */
export function answerSpace(
  operator: Operator,
  asked: {
    readonly question: SpaceQuestion;
    readonly mark: LivenessMark;
    readonly progress: Progress;
  },
  done: Done<Omit<PoolSpace, 'growth' | 'whatIfWindow'>>,
): void {
  const { question, mark, progress } = asked;
  const answer: Done<SpaceAccount> = (outcome) => {
    if (!outcome.ok) {
      done(outcome);
      return;
    }
    operator.attempt(done, () => {
      done(success(spaceReport(outcome.value, question)));
    });
  };
  operator.attempt(done, () => {
    checkQuestion(operator, question);
    accountSpace(operator, mark, { progress, done: answer });
  });
}

/** Throws OperationError not-found for names that there are not. */
function checkQuestion(operator: Operator, { volume, deleted }: SpaceQuestion): void {
  if (volume !== undefined) operator.volume(volume);
  for (const name of deleted) {
    const [of = '', snapshot] = name.split('@');
    if (snapshot === undefined) operator.volume(of);
    else operator.snapshot(of, snapshot);
  }
}

/** Throws OperationError not-found for names that the account does not have. */
function spaceReport(
  account: SpaceAccount,
  question: SpaceQuestion,
): Omit<PoolSpace, 'growth' | 'whatIfWindow'> {
  const index = new AccountIndex(account);
  const held = sum(account.held.map(({ blocks }) => blocks));
  const history = sum(account.pastBlocks);
  const { dataBlocks, headerSlots, slots, segmentCount, computedMs, end, footerBytes } = account;
  const segmentBytes = bytes(slots);
  const volumes = index.volumes();
  const { volume } = question;
  if (volume !== undefined) index.rootsNamed(volume);
  return {
    computedMs,
    end,
    segmentCount,
    segmentBytes,
    heldBytes: bytes(held),
    historyBytes: bytes(history),
    // Of a log whose mark failed all past counts as history, also blocks that no pack keeps any more.
    deadBytes: bytes(Math.max(0, dataBlocks - held - history)),
    headerBytes: bytes(headerSlots),
    unwrittenBytes: segmentBytes - bytes(dataBlocks + headerSlots),
    footerBytes,
    volumes: volumes.filter(({ name }) => volume === undefined || name === volume),
    snapshots: volume === undefined ? [] : index.snapshots(volume),
    ...(question.deleted.length === 0 ? {} : { whatIf: index.whatIf(question.deleted) }),
  };
}

function bytes(blocks: number): number {
  return blocks * slotSizeBytes;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** The roots of an account in numbers that make sets of holders cheap to ask. */
class AccountIndex {
  readonly #account: SpaceAccount;
  /** Volume of each root, by its place in the account. */
  readonly #volumeOf: number[] = [];
  /** The last root up to which all from this one on are of the same volume. */
  readonly #runEnd: number[] = [];
  /** How many of the roots before each are snapshots. */
  readonly #snapshotsBefore: number[] = [0];
  readonly #presentOf: number[] = [];

  constructor(account: SpaceAccount) {
    this.#account = account;
    const { roots, volumes } = account;
    const numberOf = new Map(volumes.map((volume, index) => [volume, index]));
    roots.forEach((root, index) => {
      const volume = numberOf.get(root.volume) ?? 0;
      this.#volumeOf.push(volume);
      if (root.kind === 'present') this.#presentOf[volume] = index;
      const before = this.#snapshotsBefore[index] ?? 0;
      this.#snapshotsBefore.push(before + Number(root.kind === 'snapshot'));
    });
    for (let index = roots.length - 1; index >= 0; index -= 1) {
      const isSame = this.#volumeOf[index] === this.#volumeOf[index + 1];
      this.#runEnd[index] = isSame ? (this.#runEnd[index + 1] ?? index) : index;
    }
  }

  volumes(): VolumeSpace[] {
    const { volumes, held, pastBlocks, mappedBlocks } = this.#account;
    const sums = volumes.map(() => ({ present: 0, snapshots: 0, undo: 0, unique: 0, shared: 0 }));
    for (const { holders, blocks } of held) {
      const found = this.#volumesIn(holders);
      for (const [number, hasSnapshot] of found) {
        const total = sums[number];
        if (total === undefined) continue;
        if (contains(holders, this.#presentOf[number] ?? -1)) total.present += blocks;
        else if (hasSnapshot) total.snapshots += blocks;
        else total.undo += blocks;
        if (found.size === 1) total.unique += blocks;
        else total.shared += blocks;
      }
    }
    return volumes.map((volume, number) => {
      const total = sums[number];
      return {
        ...identity(volume),
        mappedBytes: (mappedBlocks[this.#presentOf[number] ?? -1] ?? 0) * slotSizeBytes,
        presentBytes: (total?.present ?? 0) * slotSizeBytes,
        snapshotBytes: (total?.snapshots ?? 0) * slotSizeBytes,
        undoBytes: (total?.undo ?? 0) * slotSizeBytes,
        historyBytes: (pastBlocks[number] ?? 0) * slotSizeBytes,
        uniqueBytes: (total?.unique ?? 0) * slotSizeBytes,
        sharedBytes: (total?.shared ?? 0) * slotSizeBytes,
      };
    });
  }

  snapshots(volume: string): SnapshotSpace[] {
    const { roots, held, mappedBlocks } = this.#account;
    const unique = new Map<number, number>();
    for (const { holders, blocks } of held) {
      const [only] = holders;
      if (only === undefined || holders.length > 1 || only.from !== only.to) continue;
      unique.set(only.from, (unique.get(only.from) ?? 0) + blocks);
    }
    const snapshots: (SnapshotSpace & { cut: number })[] = [];
    roots.forEach((root, index) => {
      if (root.kind !== 'snapshot' || root.volume.name !== volume) return;
      const { name, createdMs, moment } = root;
      snapshots.push({
        name,
        createdMs,
        mappedBytes: (mappedBlocks[index] ?? 0) * slotSizeBytes,
        uniqueBytes: (unique.get(index) ?? 0) * slotSizeBytes,
        cut: moment.cut,
      });
    });
    return snapshots
      .sort((left, right) => left.cut - right.cut)
      .map(({ cut: _cut, ...snapshot }) => snapshot);
  }

  whatIf(deleted: readonly string[]): WhatIf {
    const { roots, held, volumes, pastBlocks } = this.#account;
    const gone = new Set(deleted.flatMap((name) => this.rootsNamed(name)));
    const goneBefore = [0];
    roots.forEach((_root, index) => {
      goneBefore.push((goneBefore[index] ?? 0) + Number(gone.has(index)));
    });
    const isGone = ({ from, to }: Interval): boolean =>
      (goneBefore[to + 1] ?? 0) - (goneBefore[from] ?? 0) === to - from + 1;
    const freed = sum(
      held.filter(({ holders }) => holders.every(isGone)).map(({ blocks }) => blocks),
    );
    const history = sum(
      volumes.map(({ name }, number) => (deleted.includes(name) ? (pastBlocks[number] ?? 0) : 0)),
    );
    return {
      deleted,
      freedBytes: freed * slotSizeBytes,
      historyBytes: history * slotSizeBytes,
    };
  }

  /** Roots of a snapshot VOL@NAME, or all of a volume. Throws OperationError not-found. */
  rootsNamed(text: string): number[] {
    const { roots } = this.#account;
    const [volume, snapshot] = text.split('@');
    const found: number[] = [];
    roots.forEach((root, index) => {
      if (root.volume.name !== volume) return;
      if (snapshot === undefined || (root.kind === 'snapshot' && root.name === snapshot)) {
        found.push(index);
      }
    });
    if (found.length > 0) return found;
    const kind = snapshot === undefined ? 'volume or view' : 'snapshot';
    throw new OperationError(
      ErrorCode.notFound,
      `no ${kind} "${text}"`,
      'Name snapshots as VOLUME@SNAPSHOT, volumes and views by their name.',
    );
  }

  /** Volumes among the holders, and whether a snapshot of each is. */
  #volumesIn(holders: readonly Interval[]): Map<number, boolean> {
    const found = new Map<number, boolean>();
    for (const { from, to } of holders) {
      let at = from;
      while (at <= to) {
        const end = Math.min(to, this.#runEnd[at] ?? at);
        const volume = this.#volumeOf[at] ?? 0;
        const snapshots = (this.#snapshotsBefore[end + 1] ?? 0) - (this.#snapshotsBefore[at] ?? 0);
        found.set(volume, found.get(volume) === true || snapshots > 0);
        at = end + 1;
      }
    }
    return found;
  }
}

function identity(volume: VolumeState): Pick<VolumeSpace, 'name' | 'kind' | 'uuid' | 'sizeBytes'> {
  const { name, uuid, sizeBytes, view } = volume;
  const kind = view === undefined ? 'volume' : 'view';
  return { name, kind, uuid: uuidText(uuid), sizeBytes };
}

function contains(holders: readonly Interval[], index: number): boolean {
  return holders.some(({ from, to }) => from <= index && index <= to);
}
