/**
 * Packing: puts what is kept of segments into packs, and gives their former files back. The main thread's part:
 *
 *     order ─▶ keeper: pack written, flushed, read back, named, folder flushed
 *                 └─▶ from here on reads go to the pack ─▶ last read of the former file is back
 *                        ├─ a segment's own file: the next segments are written into it, or (enough of them) it is removed
 *                        └─ a pack in which no segment lies any more: removed
 *
 * Invariants
 * 1. At every instant each segment can be read whole from the file that is in force: a crash anywhere loses nothing.
 * 2. Whoever orders vouches that nobody can reach the blocks that are not kept, now or ever.
 * 3. Only sealed segments are packed that a later, durable segment follows.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import { DiskError } from '../../base/ports.ts';
import type { Maintenance } from '../core/maintenance.ts';
import type { PoolParts } from '../core/parts.ts';
import { segIdOf, slotSizeBytes } from '../format/address.ts';
import { packMemberEnd, packOf } from '../format/pack.ts';
import type { KeeperJob } from '../keeper-jobs.ts';
import { limits } from '../limits.ts';
import { segIdOfPath, segmentPath } from '../log/segment-path.ts';
import { packIdLast, packPath } from './pack-path.ts';
import type { MadePack, PackOrder, PackPlan, RefusedMember } from './pack-plan.ts';

export interface PackReport {
  /** Undefined when no segment could be packed. */
  readonly packId: number | undefined;
  /** Of the new pack. */
  readonly packBytes: number;
  readonly packedSegIds: readonly number[];
  /** Segments that stay where they are. */
  readonly refused: readonly RefusedMember[];
  /** Of the files that are given back: those of the segments, and packs in which no segment lies any more. */
  readonly freedBytes: number;
}

/** What a pack holds of one segment that lies in it. */
export interface ContainerMember {
  readonly segId: number;
  readonly keptBlocks: number;
  /** Bytes of it in the pack, and those of them that are no data blocks. */
  readonly bytes: number;
  readonly fixedBytes: number;
}

export interface ContainerState {
  readonly packId: number;
  /** Of the file. */
  readonly bytes: number;
  /** Segments that lie in it, by ascending id: those that moved on are not among them. */
  readonly members: readonly ContainerMember[];
}

type RemoveFiles = Extract<KeeperJob, { kind: 'remove-files' }>;

type PackDone = (outcome: Outcome<PackReport>) => void;

interface Waiting {
  readonly members: readonly PackOrder[];
  readonly done: PackDone;
}

export class Packing {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #waiting: Waiting[] = [];
  #isBusy = false;
  #isStopped = false;

  constructor(parts: PoolParts, maintenance: Maintenance) {
    this.#parts = parts;
    this.#maintenance = maintenance;
  }

  /** The pool is open: what an earlier process left is given back. */
  start(): void {
    const { writer, containers } = this.#parts;
    const isGivenUp = (path: string): boolean =>
      containers.find(segIdOfPath(path) ?? 0) !== undefined;
    const surplus = writer?.supply.takeSurplus(isGivenUp) ?? [];
    this.#remove({ segIds: surplus.map((path) => segIdOfPath(path) ?? 0) });
  }

  /** The pool is being closed: what is being packed is given up. */
  stop(): void {
    this.#isStopped = true;
    for (const { done } of this.#waiting.splice(0)) done(failure(closing()));
  }

  /** Bytes of all packs. */
  get packedBytes(): number {
    return this.#parts.containers.packedBytes;
  }

  /** All packs, as of now. */
  containers(): readonly ContainerState[] {
    const { containers } = this.#parts;
    return [...containers.packs()].map(({ packId, totalBytes, members }) => ({
      packId,
      bytes: totalBytes,
      members: [...members]
        .filter(({ segId }) => containers.packIdOf(segId) === packId)
        .map((member) => {
          const { segId, keptBlocks, offset } = member;
          const bytes = packMemberEnd(member) - offset;
          return { segId, keptBlocks, bytes, fixedBytes: bytes - keptBlocks * slotSizeBytes };
        }),
    }));
  }

  /**
   * Packs segments together, one pack after the other; `keep` is not looked at any more when `done` runs. A segment that cannot
   * be read as it was written stays where it is, and is named.
   */
  pack(members: readonly PackOrder[], done: PackDone): void {
    const refusal = this.#refusal(members);
    if (refusal !== undefined) {
      done(failure(refusal));
      return;
    }
    this.#waiting.push({ members, done });
    this.#next();
  }

  /**
   * Removes damaged packs that nothing needs: a pool that is not read-only misses nothing without them. One that the disk
   * does not give stays, it may be whole.
   */
  removeDamaged(): void {
    const { containers, host, writer } = this.#parts;
    if (this.#isStopped || writer === undefined) return;
    for (const { packId, isUnread } of containers.damaged) {
      if (isUnread) continue;
      this.#remove({ packIds: [packId] }, (isRemoved) => {
        if (!isRemoved) return;
        containers.forgetDamaged(packId);
        host.log.warn('a damaged pack that nothing needs was removed', { pack: packPath(packId) });
      });
    }
  }

  /**
   * Where the file system has nothing free: gives up a segment file that was made ahead, unless it is the last one,
   * which deletes need. False = it is so; else `done` runs when it is removed, or could not be.
   */
  makeRoom(done: () => void): boolean {
    if (this.#isStopped) return false;
    const segId = this.#parts.writer?.supply.giveUp(limits.readySegmentsKept);
    if (segId === undefined) return false;
    const { log } = this.#parts.host;
    log.info('nothing is free on the file system: a segment made ahead makes room for a pack', {
      segId,
    });
    this.#remove({ unusedSegIds: [segId] }, done);
    return true;
  }

  #next(): void {
    if (this.#isBusy) return;
    const order = this.#waiting.shift();
    if (order === undefined) return;
    this.#isBusy = true;
    const packId = this.#parts.containers.packIdMax + 1;
    const members = order.members.toSorted((left, right) => left.segId - right.segId);
    this.#step({ packId, members }, (outcome) => {
      this.#isBusy = false;
      order.done(outcome);
      this.#next();
    });
  }

  #refusal(members: readonly PackOrder[]): OperationError | undefined {
    const { segmentById, writer, containers } = this.#parts;
    if (this.#isStopped || writer === undefined) return closing();
    if (containers.packIdMax >= packIdLast) return noPackIds();
    const lastSegId = segIdOf(writer.log.durableThrough - 1);
    const ids = new Set(members.map(({ segId }) => segId));
    const isSound =
      ids.size === members.length &&
      members.length > 0 &&
      members.every(({ segId }) => {
        return segId < lastSegId && segmentById.get(segId)?.crcPlace !== undefined;
      });
    if (isSound) return undefined;
    return new OperationError(
      ErrorCode.conflict,
      'only segments that are sealed and durable can be packed, each once',
      'Try again later.',
    );
  }

  /** The keeper works a step at a time: what else is asked of it comes in between. */
  #step(plan: PackPlan | undefined, done: PackDone): void {
    this.#maintenance.ask<'pack'>({ kind: 'pack', plan }, ({ made, error }) => {
      if (error !== undefined) {
        this.#parts.host.log.warn('segments were not packed', { error: error.message });
        done(failure(notPacked(error.code, error.message)));
      } else if (made !== undefined) done(success(this.#made(made)));
      else if (this.#isStopped) done(failure(closing()));
      else this.#step(undefined, done);
    });
  }

  /** The pack is durable under its name: reads go there from now on. */
  #made({ pack: made, refused }: MadePack): PackReport {
    const { containers, host } = this.#parts;
    for (const { segId, reason } of refused) {
      host.log.error('a segment was not packed', { segId, reason });
    }
    if (made === undefined) {
      return { packId: undefined, packBytes: 0, packedSegIds: [], refused, freedBytes: 0 };
    }
    const pack = packOf(made);
    const packedSegIds = [...pack.members.segIds()];
    const files = packedSegIds.filter((segId) => containers.packIdOf(segId) === 0);
    containers.add(pack);
    const packs = containers.superseded();
    const freedBytes = this.#bytesOf(files, packs);
    for (const segId of files) this.#giveUpFile(segId);
    for (const packId of packs) this.#giveUpPack(packId);
    const { packId, totalBytes: packBytes } = pack;
    return { packId, packBytes, packedSegIds, refused, freedBytes };
  }

  #bytesOf(segIds: readonly number[], packIds: readonly number[]): number {
    const { disk } = this.#parts.host;
    const paths = [...segIds.map(segmentPath), ...packIds.map(packPath)];
    try {
      return paths.reduce((total, path) => total + disk.sizeOf(path), 0);
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      return 0;
    }
  }

  #giveUpFile(segId: number): void {
    this.#parts.files.retire(segId, () => {
      const { writer } = this.#parts;
      if (this.#isStopped || writer?.supply.offer(segmentPath(segId)) === true) return;
      this.#remove({ segIds: [segId] });
    });
  }

  #giveUpPack(packId: number): void {
    this.#parts.containers.remove(packId);
    this.#parts.files.retire(-packId, () => {
      this.#remove({ packIds: [packId] });
    });
  }

  /** What is not removed now is removed when the pool is opened again. */
  #remove(
    files: Partial<Omit<RemoveFiles, 'kind'>>,
    done: (isRemoved: boolean) => void = () => undefined,
  ): void {
    const { segIds = [], unusedSegIds = [], packIds = [] } = files;
    if (this.#isStopped || segIds.length + unusedSegIds.length + packIds.length === 0) return;
    const order = { kind: 'remove-files', segIds, unusedSegIds, packIds } as const;
    this.#maintenance.ask<'remove-files'>(order, ({ error }) => {
      if (error !== undefined) {
        this.#parts.host.log.warn('files that are not needed any more were not removed', {
          error: error.message,
        });
      }
      done(error === undefined);
    });
  }
}

function closing(): OperationError {
  return new OperationError(ErrorCode.unavailable, 'the pool takes no changes now', '');
}

/** One file with the last id is enough: no pack behind it would count. */
function noPackIds(): OperationError {
  return new OperationError(
    ErrorCode.unavailable,
    `there is a pack with the last id that there can be (${packPath(packIdLast)})`,
    'Nothing can be packed behind it. If it is not of this pool, move it out of the folder and open the pool again.',
  );
}

function notPacked(code: string, message: string): OperationError {
  const isFull = code === 'ENOSPC';
  return new OperationError(
    isFull ? ErrorCode.noSpace : ErrorCode.internal,
    `segments were not packed: ${message}`,
    isFull ? 'A pack needs room for what it keeps.' : 'Run "tidemark pool verify".',
  );
}
