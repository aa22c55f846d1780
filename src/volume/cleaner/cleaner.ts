/**
 * Cleaner: gives space back. It has the log judged, chooses what is worth packing, and has it packed at a pace that clients do
 * not feel.
 *
 *     idle ──a mark is due, or asked──▶ marking ──▶ packing: batch ─▶ pack ─▶ wait ─▶ pack ─▶ ... ─▶ batch ─▶ ...
 *      ▲                                                        │
 *      └────────────────── nothing is worth it any more ────────┘
 *
 * The mark (`liveness/mark.ts`) judges, `policy.ts` chooses, `pack/packing.ts` packs. What was dead at the mark stays dead, so a
 * pass may take as long as it takes; what dies meanwhile is copied once more, and found by the next.
 *
 * Invariants
 * 1. Nothing of this persists: after a crash the log is judged again, and a pack that was not complete is not there.
 * 2. One mark, or one pack, at a time; nothing after `close`.
 * 3. A read-only pool is never cleaned.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import type { Timer } from '../../base/ports.ts';
import { formatSize } from '../../base/units.ts';
import type { CatalogueRecord } from '../catalogue/records.ts';
import { ClientLoad } from '../core/client-load.ts';
import type { Done } from '../core/operator.ts';
import type { PoolParts } from '../core/parts.ts';
import type { SpaceReport } from '../core/space.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { LiveSet } from '../liveness/live-set.ts';
import type { LivenessMark } from '../liveness/mark.ts';
import type { Packing, PackReport } from '../pack/packing.ts';
import type { CleanerPass, CleanerStatus, Progress } from '../reports.ts';
import type { Pressure } from './garbage-share.ts';
import { cleanerLimits } from './limits.ts';
import { type LogState, MarkDue, type MarkReason } from './mark-due.ts';
import { copyRate, Pace } from './pace.ts';
import { type Batch, nextBatch } from './policy.ts';
import { type Survey, survey } from './survey.ts';

/** What the cleaner has others do. */
interface CleanerDoors {
  readonly mark: LivenessMark;
  readonly packing: Packing;
  readonly space: () => SpaceReport;
}

/** Records that a person asks for, after which more may be dead. */
const deletingKinds: ReadonlySet<CatalogueRecord['kind']> = new Set([
  'snap-delete',
  'vol-delete',
  'vol-resize',
  'revert',
]);

/** A pass under way. */
interface Pass {
  readonly reason: MarkReason;
  readonly startedMs: number;
  /** What is asked for by hand cleans as at the soft limit. */
  readonly pressureMin: Pressure;
  live: LiveSet | undefined;
  found: Survey | undefined;
  /** A file that was made ahead has been given up for it. */
  hasMadeRoom: boolean;
  packCount: number;
  packsReplaced: number;
  copiedBytes: number;
  freedBytes: number;
}

interface Asking {
  readonly progress: Progress;
  readonly done: Done<CleanerPass>;
}

export class Cleaner {
  readonly #parts: PoolParts;
  readonly #doors: CleanerDoors;
  readonly #load: ClientLoad;
  readonly #due = new MarkDue();
  readonly #pace = new Pace();
  /** When packs of this process were made. */
  readonly #ages = new Map<number, number>();
  /** Segments that cannot be packed, because something in them is damaged. */
  readonly #refused = new Set<number>();
  #pressure: Pressure = 'none';
  /** Writes are refused, or as slow as they get. */
  #isStalled = false;
  #isOpen = false;
  #timer: Timer | undefined;
  #pass: Pass | undefined;
  #lastPass: CleanerPass | undefined;
  /** As the last mark found it, less what was packed since. */
  #content: { liveBytes: number; garbageBytes: number; readonly judgedMs: number } | undefined;
  #copiedBytes = 0;
  #reclaimedBytes = 0;
  readonly #asking: Asking[] = [];
  /** Those that wait for the pass that runs. */
  #awaited: Asking[] = [];

  constructor(parts: PoolParts, doors: CleanerDoors) {
    this.#parts = parts;
    this.#doors = doors;
    this.#load = new ClientLoad(parts);
  }

  /** The pool is open. */
  open(): void {
    if (this.#parts.writer === undefined) return;
    this.#isOpen = true;
    if (this.#isAutomatic) this.#lookAfter(cleanerLimits.firstLookAfterMs);
  }

  /** The pool closes: what is being judged or packed is given up. */
  close(): void {
    this.#isOpen = false;
    this.#timer?.cancel();
    this.#pass = undefined;
    for (const { done } of [...this.#awaited.splice(0), ...this.#asking.splice(0)]) done(stopped());
  }

  /** How short of space the pool is, and whether writes are refused for it, or as slow as they get. */
  setPressure(level: Pressure, isStalled: boolean): void {
    const hasStalled = isStalled && !this.#isStalled;
    this.#isStalled = isStalled;
    if (hasStalled) this.#due.stalled();
    if (level === this.#pressure && !hasStalled) return;
    this.#parts.host.log.info('cleaner: pressure changed', {
      from: this.#pressure,
      to: level,
      areWritesStalled: isStalled,
    });
    this.#pressure = level;
    if (this.#isOpen && this.#isAutomatic && this.#pass === undefined) this.#lookAfter(0);
  }

  /** A catalogue record was published: it may give states up. */
  recordPublished({ kind }: CatalogueRecord): void {
    if (deletingKinds.has(kind)) this.#due.deleted();
    else if (kind === 'horizon' || kind === 'unpin') this.#due.windowsMoved();
  }

  /**
   * A pass from now on, also when the cleaner is off, that cleans as at the soft limit. `done` gets what it did; the pool must
   * be writable.
   */
  run(progress: Progress, done: Done<CleanerPass>): void {
    if (!this.#isOpen) {
      done(stopped());
      return;
    }
    this.#doors.packing.removeDamaged();
    this.#asking.push({ progress, done });
    if (this.#pass === undefined) this.#begin('asked');
  }

  status(): CleanerStatus {
    const loggedBytes = this.#parts.writer?.log.bytesLogged ?? 0;
    const packCount = [...this.#parts.containers.packs()].length;
    return {
      state:
        this.#pass === undefined ? 'idle' : this.#pass.found === undefined ? 'marking' : 'packing',
      isAutomatic: this.#isAutomatic && this.#parts.writer !== undefined,
      pressure: this.#pressure,
      ...(this.#content === undefined ? {} : { content: { ...this.#content } }),
      packCount,
      packBytes: this.#parts.containers.packedBytes,
      ...(this.#lastPass === undefined ? {} : { lastPass: this.#lastPass }),
      loggedBytes,
      copiedBytes: this.#copiedBytes,
      reclaimedBytes: this.#reclaimedBytes,
    };
  }

  get #isAutomatic(): boolean {
    return this.#parts.settings.cleaner === 'auto';
  }

  #lookAfter(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.host.timers.after(delayMs, () => {
      this.#look();
    });
  }

  #look(): void {
    if (!this.#isOpen || this.#pass !== undefined) return;
    const reason = this.#due.reason(this.#log());
    if (reason === undefined) this.#lookAfter(cleanerLimits.lookEveryMs);
    else this.#begin(reason);
  }

  #log(): LogState {
    const { writer, lineById, settings, host } = this.#parts;
    let replacedBlocks = 0;
    for (const { map } of lineById.values()) replacedBlocks += map.replacedBlocks;
    const loggedBytes = writer?.log.bytesLogged ?? 0;
    return {
      changedBytes: Math.max(loggedBytes, replacedBlocks * slotSizeBytes),
      usedBytes: this.#doors.space().usedBytes,
      segmentBytes: settings.segmentSlots * slotSizeBytes,
      pressure: this.#pressure,
      isStalled: this.#isStalled,
      nowMs: host.clock.monotonicMs(),
    };
  }

  #begin(reason: MarkReason): void {
    const { host } = this.#parts;
    const pass: Pass = {
      reason,
      startedMs: host.clock.wallMs(),
      pressureMin: reason === 'asked' ? 'soft' : 'none',
      live: undefined,
      found: undefined,
      hasMadeRoom: false,
      packCount: 0,
      packsReplaced: 0,
      copiedBytes: 0,
      freedBytes: 0,
    };
    this.#pass = pass;
    this.#timer?.cancel();
    this.#awaited = this.#asking.splice(0);
    this.#due.begun(this.#log());
    const thins = { pressure: this.#pressureOf(pass), isAll: reason === 'asked' };
    this.#doors.mark.runAndThin(thins, (outcome) => {
      if (this.#pass !== pass) return;
      if (!outcome.ok) {
        this.#end(pass, outcome.error);
        return;
      }
      this.#due.judged(host.clock.monotonicMs());
      pass.live = outcome.value;
      this.#survey(pass, outcome.value);
    });
  }

  #survey(pass: Pass, live: LiveSet): void {
    const isStopped = (): boolean => this.#pass !== pass;
    const known = { ages: this.#ages, refused: this.#refused };
    survey({ parts: this.#parts, live, known, isStopped }, (found) => {
      const { liveBytes, garbageBytes } = found;
      pass.found = found;
      this.#content = { liveBytes, garbageBytes, judgedMs: this.#parts.host.clock.wallMs() };
      this.#parts.host.log.info('cleaner: the log was judged', {
        reason: pass.reason,
        segments: live.segIds.length,
        live: formatSize(liveBytes),
        garbage: formatSize(garbageBytes),
      });
      this.#next(pass, live);
    });
  }

  #next(pass: Pass, live: LiveSet): void {
    const batch = this.#batch(pass, live, 0);
    if (batch === undefined) {
      if (!this.#makesRoom(pass, live)) this.#end(pass, undefined);
      return;
    }
    this.#parts.host.log.info('cleaner: packing', {
      reason: batch.reason,
      files: batch.containers.length,
      packs: batch.packs.length,
      copy: formatSize(batch.copyBytes),
      replaced: formatSize(batch.replacedBytes),
    });
    this.#packAll(pass, batch, 0);
  }

  /** Where the file system has no room for a pack, although one would be worth it: then room is made, and it goes on. */
  #makesRoom(pass: Pass, live: LiveSet): boolean {
    // Once: what others take at once is better kept.
    if (pass.hasMadeRoom) return false;
    pass.hasMadeRoom = true;
    const segmentBytes = this.#parts.settings.segmentSlots * slotSizeBytes;
    if (this.#batch(pass, live, segmentBytes) === undefined) return false;
    return this.#doors.packing.makeRoom(() => {
      if (this.#pass === pass) this.#next(pass, live);
    });
  }

  /** What is worth packing when the file system has so much more than it says. */
  #batch(pass: Pass, live: LiveSet, moreBytes: number): Batch | undefined {
    const { found } = pass;
    if (found === undefined) return undefined;
    const space = this.#doors.space();
    const { usedBytes, cleanerLimitBytes, fileSystemFreeBytes } = space;
    const segmentBytes = this.#parts.settings.segmentSlots * slotSizeBytes;
    // Where even the reserve is used up, one segment at a time: only the file system can refuse that.
    const spareBytes = Math.max(cleanerLimitBytes - usedBytes, segmentBytes);
    const logBytes = space.readySegmentCount > 0 ? 0 : segmentBytes;
    return nextBatch({
      ...found,
      headSegId: live.endSegId,
      segmentBytes,
      // What is kept for thick volumes is as good as used: others are refused as early.
      use: { ...space, usedBytes: usedBytes + space.reservedBytes },
      pressure: this.#pressureOf(pass),
      // What the log goes on in is not the cleaner's.
      spareBytes: Math.min(spareBytes, fileSystemFreeBytes + moreBytes - logBytes),
    });
  }

  /** As it is now: a pass that began when space was short does not go on as hard when it is not any more. */
  #pressureOf({ pressureMin }: Pass): Pressure {
    return this.#pressure === 'none' ? pressureMin : this.#pressure;
  }

  #packAll(pass: Pass, batch: Batch, index: number): void {
    const plan = batch.packs[index];
    const { live } = pass;
    if (plan === undefined || live === undefined) {
      this.#batchDone(pass, batch);
      return;
    }
    const { host } = this.#parts;
    const startedMs = host.clock.monotonicMs();
    const keptThrough = live.endPosition;
    const orders = plan.segIds.map((segId) => ({ segId, keep: live.bitmap(segId), keptThrough }));
    this.#doors.packing.pack(orders, (outcome) => {
      if (this.#pass !== pass) return;
      if (!outcome.ok) {
        this.#end(pass, outcome.error);
        return;
      }
      this.#packed(pass, outcome.value);
      for (const { progress } of this.#awaited) progress(index + 1, batch.packs.length);
      const rate = copyRate(this.#pressureOf(pass), this.#load.isBusy());
      const time = { startedMs, nowMs: host.clock.monotonicMs() };
      const delayMs = this.#pace.delayMs(outcome.value.packBytes, rate, time);
      this.#timer = host.timers.after(delayMs, () => {
        this.#packAll(pass, batch, index + 1);
      });
    });
  }

  #packed(pass: Pass, { packId, packBytes, freedBytes, refused }: PackReport): void {
    for (const { segId } of refused) this.#refused.add(segId);
    if (packId === undefined) return;
    this.#ages.set(packId, pass.live?.endSegId ?? 0);
    pass.packCount += 1;
    pass.copiedBytes += packBytes;
    pass.freedBytes += freedBytes;
    this.#copiedBytes += packBytes;
    this.#reclaimedBytes += freedBytes - packBytes;
  }

  #batchDone(pass: Pass, { containers, copyBytes, replacedBytes }: Batch): void {
    const { found, live } = pass;
    if (found === undefined || live === undefined) return;
    pass.packsReplaced += containers.filter(({ isPack }) => isPack).length;
    const gone = new Set(containers);
    const garbageBytes = found.garbageBytes - (replacedBytes - copyBytes);
    const left = found.containers.filter((container) => !gone.has(container));
    pass.found = { ...found, containers: left, garbageBytes };
    if (this.#content !== undefined) this.#content.garbageBytes = Math.max(0, garbageBytes);
    this.#next(pass, live);
  }

  #end(pass: Pass, error: OperationError | undefined): void {
    const { host } = this.#parts;
    const { reason, startedMs, packCount, packsReplaced, copiedBytes, freedBytes } = pass;
    const reclaimedBytes = freedBytes - copiedBytes;
    this.#lastPass = {
      reason,
      startedMs,
      finishedMs: host.clock.wallMs(),
      packCount,
      packsReplaced,
      copiedBytes,
      reclaimedBytes,
      ...(error === undefined ? {} : { fault: error.message }),
    };
    this.#pass = undefined;
    this.#due.ended(host.clock.monotonicMs(), packCount > 0);
    const numbers = {
      packs: packCount,
      copied: formatSize(copiedBytes),
      reclaimedBytes,
    };
    if (error === undefined) host.log.info('cleaner: pass ended', numbers);
    else host.log.warn('cleaner: pass given up', { ...numbers, error: error.message });
    for (const { done } of this.#awaited.splice(0)) {
      done(error === undefined ? success(this.#lastPass) : failure(error));
    }
    this.#goOn();
  }

  /** A pass has ended; who was told of it may have begun another, or closed the pool. */
  #goOn(): void {
    if (!this.#isOpen || this.#pass !== undefined) return;
    if (this.#asking.length > 0) this.#begin('asked');
    else if (this.#isAutomatic) this.#lookAfter(cleanerLimits.lookEveryMs);
  }
}

function stopped(): Outcome<never> {
  return failure(
    new OperationError(ErrorCode.unavailable, 'the cleaner is not running', 'The pool is closing.'),
  );
}
