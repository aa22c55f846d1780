/**
 * Pack builder: makes the file of one pack from the segments that are its members, wherever they lie now, a bounded number of
 * bytes at a time, so that whoever else needs the keeper waits for one step at most.
 *
 *     begin ─▶ copy ─▶ copy ─▶ ... ─▶ table, header, flushed ─▶ read back ─▶ ... ─▶ renamed ─▶ folder flushed ─▶ pack
 *
 * A crash at any point leaves a NAME.new that nobody reads, or the whole pack. Nothing is removed here.
 */
import { type Disk, DiskError, type DiskFile } from '../../base/ports.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import {
  encodePack,
  type Pack,
  type PackMember,
  packHeaderBytes,
  packMemberEnd,
  plainPackOf,
} from '../format/pack.ts';
import { mediumWindowBytes } from '../scrub/medium-file.ts';
import { MemberCheck } from '../scrub/member-check.ts';
import type { Containers } from './containers.ts';
import { MemberCopy } from './member-copy.ts';
import { readPackFrom } from './pack-file.ts';
import { packFolder, packPath, unfinishedPackPath } from './pack-path.ts';
import type { MadePack, PackPlan, RefusedMember } from './pack-plan.ts';
import { PackedSegment } from './packed-segment.ts';

export interface PackBuilderOptions {
  readonly disk: Disk;
  readonly containers: Containers;
  readonly seeds: Seeds;
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
}

interface Build {
  readonly plan: PackPlan;
  readonly file: DiskFile;
  readonly members: PackMember[];
  readonly refused: RefusedMember[];
  /** The next member of the plan. */
  next: number;
  copy: MemberCopy | undefined;
  /** Written whole, and being read back. */
  pack: Pack | undefined;
  checked: number;
  check: MemberCheck | undefined;
}

export class PackBuilder {
  readonly #options: PackBuilderOptions;
  #window: Uint8Array | undefined;
  #build: Build | undefined;

  constructor(options: PackBuilderOptions) {
    this.#options = options;
  }

  /**
   * Begins with `plan`, or goes on with the one before when there is none, for about `bytesMax` of kept blocks; undefined =
   * call again. Throws DiskError, FormatError; then nothing is left of it.
   */
  step(plan: PackPlan | undefined, bytesMax: number): MadePack | undefined {
    try {
      const build = plan === undefined ? this.#build : this.#begin(plan);
      if (build === undefined) throw new FormatError('no pack is being made');
      if (build.pack === undefined) return this.#copy(build, bytesMax);
      return this.#readBack(build, build.pack, bytesMax);
    } catch (thrown) {
      this.abandon();
      throw thrown;
    }
  }

  /** Gives up what was begun. Never throws DiskError: what cannot be removed now is removed when the pool is opened again. */
  abandon(): void {
    const build = this.#build;
    this.#build = undefined;
    if (build === undefined) return;
    build.copy?.close();
    build.check?.close();
    build.file.close();
    try {
      this.#options.disk.remove(unfinishedPackPath(build.plan.packId));
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
    }
  }

  #begin(plan: PackPlan): Build {
    this.abandon();
    const { disk } = this.#options;
    const path = unfinishedPackPath(plan.packId);
    disk.makeFolder(packFolder);
    disk.flushFolder('');
    disk.remove(path);
    this.#build = {
      plan,
      file: disk.open(path, { create: true }),
      members: [],
      refused: [],
      next: 0,
      copy: undefined,
      pack: undefined,
      checked: 0,
      check: undefined,
    };
    return this.#build;
  }

  #copy(build: Build, bytesMax: number): MadePack | undefined {
    const end = endOf(build) + bytesMax;
    for (;;) {
      const order = build.plan.members[build.next];
      if (order === undefined) return this.#finish(build);
      this.#copyMember(build, bytesMax);
      if (build.copy !== undefined || endOf(build) >= end) break;
    }
    // One flush of all at the end would hold up the commits beside it.
    build.file.flush();
    return undefined;
  }

  /** Goes on with the next member of the plan; one that cannot be copied as it was written is left out. */
  #copyMember(build: Build, bytesMax: number): void {
    const { plan, file, members, refused } = build;
    const order = plan.members[build.next];
    if (order === undefined) return;
    try {
      const target = { file, packId: plan.packId, offset: endOf(build) };
      build.copy ??= new MemberCopy(this.#options, order, target);
      const member = build.copy.step(Math.ceil(bytesMax / slotSizeBytes));
      if (member === undefined) return;
      members.push(member);
    } catch (thrown) {
      if (!(thrown instanceof FormatError) || thrown.isTooNew) throw thrown;
      refused.push({ segId: order.segId, reason: thrown.message });
    }
    build.copy?.close();
    build.copy = undefined;
    build.next += 1;
  }

  #finish(build: Build): MadePack | undefined {
    const { plan, file, members, refused } = build;
    if (members.length === 0) {
      this.abandon();
      return { pack: undefined, refused };
    }
    const { poolUuid, seeds } = this.#options;
    const { header, end, pack } = encodePack(
      { packId: plan.packId, keptThrough: this.#keptThrough(plan), members },
      poolUuid,
      seeds,
    );
    file.write([end], endOf(build));
    file.write([header], 0);
    // A member that was refused may have been longer than all that follows.
    file.truncate(pack.totalBytes);
    file.flush();
    build.pack = pack;
    return undefined;
  }

  /** What a member was given up before stays given up. */
  #keptThrough({ members }: PackPlan): number {
    const { containers } = this.#options;
    return members.reduce((most, { segId, keptThrough }) => {
      return Math.max(most, keptThrough, containers.find(segId)?.pack.keptThrough ?? 0);
    }, 0);
  }

  /** What the medium gives back is what vouches for the pack: the blocks are removed elsewhere because they are here. */
  #readBack(build: Build, pack: Pack, bytesMax: number): MadePack | undefined {
    const { disk, seeds, poolUuid, segmentSlots } = this.#options;
    this.#window ??= new Uint8Array(disk.memory(mediumWindowBytes));
    const options = { disk, seeds, poolUuid, segmentSlots, window: this.#window };
    const path = unfinishedPackPath(pack.packId);
    for (let left = bytesMax; left > 0; ) {
      const member = pack.members.at(build.checked);
      if (member === undefined) {
        readPackFrom(options, { path, packId: pack.packId });
        return this.#publish(build, pack);
      }
      const packed = new PackedSegment(pack, member, segmentSlots);
      build.check ??= new MemberCheck(options, packed, path, undefined);
      const { check } = build;
      const before = check.slots;
      if (!check.step(left)) return undefined;
      if (check.texts.length > 0) throw new FormatError(`not kept: ${check.texts.join('; ')}`);
      left -= (check.slots - before + 1) * slotSizeBytes;
      check.close();
      build.check = undefined;
      build.checked += 1;
    }
    return undefined;
  }

  #publish({ file, refused }: Build, pack: Pack): MadePack {
    const { disk, containers } = this.#options;
    this.#build = undefined;
    file.close();
    disk.rename(unfinishedPackPath(pack.packId), packPath(pack.packId));
    disk.flushFolder(packFolder);
    containers.add(pack);
    return { pack: plainPackOf(pack), refused };
  }
}

/** Where the next member begins. */
function endOf({ members }: Build): number {
  const last = members.at(-1);
  return last === undefined ? packHeaderBytes : packMemberEnd(last);
}
