/**
 * Locks of snapshots: one that is locked cannot be deleted, nor its volume, until the time of the lock has come.
 *
 * That time is told by the clock by which moments grow old: a wall clock that jumps ahead ends no lock.
 */
import { ErrorCode, OperationError, success } from '../../base/errors.ts';
import { formatMomentTime } from '../../base/moment.ts';
import type { SnapshotState, VolumeState } from '../catalogue/catalogue.ts';
import type { Done, Operator } from '../core/operator.ts';
import type { SnapshotTarget } from '../core/volume-operations.ts';
import { retentionLimits as limits } from './limits.ts';

export interface SnapshotLock extends SnapshotTarget {
  /** Milliseconds since 1970; whole. 0 = it can be deleted. */
  readonly lockedUntilMs: number;
  /** A lock that is to end earlier than it did needs it. */
  readonly force: boolean;
}

export class SnapshotLocks {
  readonly #operator: Operator;
  readonly #nowMs: () => number;

  /** `nowMs`: the clock of retention. */
  constructor(operator: Operator, nowMs: () => number) {
    this.#operator = operator;
    this.#nowMs = nowMs;
  }

  /** Until when it is locked; undefined = it is not, or not any more. */
  until({ lockedUntilMs }: SnapshotState): number | undefined {
    return lockedUntilMs > this.#nowMs() ? lockedUntilMs : undefined;
  }

  /** Throws OperationError conflict, which names the lock, when one of these snapshots of the volume is locked. */
  check({ name: volume }: VolumeState, snapshots: Iterable<SnapshotState>): void {
    const nowMs = this.#nowMs();
    for (const { name, lockedUntilMs } of snapshots) {
      if (lockedUntilMs <= nowMs) continue;
      throw new OperationError(
        ErrorCode.conflict,
        `snapshot ${volume}@${name} is locked until ${formatMomentTime(lockedUntilMs)}`,
        `Wait, or end the lock: tidemark snapshot set ${volume} ${name} --unlock`,
      );
    }
  }

  /** Errors: not-found, invalid (the time has passed, or is too far away), needs-force, read-only. */
  set({ volume, name, lockedUntilMs, force }: SnapshotLock, done: Done<SnapshotState>): void {
    this.#operator.operate(done, (finish) => {
      const snapshot = this.#operator.snapshot(volume, name);
      const nowMs = this.#nowMs();
      if (lockedUntilMs > 0) checkTime(lockedUntilMs, nowMs);
      const isLess = snapshot.lockedUntilMs > nowMs && lockedUntilMs < snapshot.lockedUntilMs;
      if (isLess && !force) throw lessRefused(volume, snapshot);
      const { uuid, line } = snapshot;
      this.#operator.commit([{ kind: 'snap-set', line, uuid, lockedUntilMs }], () => {
        finish(success(snapshot));
      });
    });
  }
}

function checkTime(lockedUntilMs: number, nowMs: number): void {
  if (lockedUntilMs > nowMs && lockedUntilMs <= nowMs + limits.lockMsMax) return;
  throw new OperationError(
    ErrorCode.invalid,
    `a lock until ${formatMomentTime(Math.min(lockedUntilMs, timeMsMax))} has ended already, or would last more than a hundred years`,
    'Give a time that is to come.',
  );
}

/** The last time that can be written. */
const timeMsMax = 8_640_000_000_000_000;

function lessRefused(volume: string, { name, lockedUntilMs }: SnapshotState): OperationError {
  return new OperationError(
    ErrorCode.needsForce,
    `snapshot ${volume}@${name} is locked until ${formatMomentTime(lockedUntilMs)}, and could be deleted before`,
    'Repeat with --force if you mean it.',
  );
}
