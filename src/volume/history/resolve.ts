/**
 * From a moment that a person names to a line and a position of the log.
 *
 * Everything recorded up to a time T is in "T". What is recorded just now may not be durable yet: then this waits until the
 * log is durable up to T, so the same T always gives the same content.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import { formatMomentTime, type MomentSpec, momentRule, parseMoment } from '../../base/moment.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { Moment } from '../core/moment-maps.ts';
import { type Done, type Operator, operationError } from '../core/operator.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import { ticksOf, ticksPerMs } from '../log/hybrid-clock.ts';
import { isKept, notKept } from '../retention/kept.ts';
import { volumeAt } from './volume-at.ts';

export interface ResolvedMoment {
  /** Names the same moment whenever it is read: "snapshot:NAME", a time in UTC, or "position:N". */
  readonly label: string;
  readonly moment: Moment;
  /** The time that was asked for, or that of the newest record in it. */
  readonly timeMs: number;
}

/** Throws OperationError invalid. */
export function momentSpec(at: string): MomentSpec {
  const spec = parseMoment(at);
  if (spec !== undefined) return spec;
  const shown = at.slice(0, 100);
  throw new OperationError(ErrorCode.invalid, `"${shown}" names no moment`, `Use ${momentRule}.`);
}

/** A time or position, once for all volumes that are looked at there. */
interface ResolvedCut {
  readonly label: string;
  readonly cut: number;
  readonly timeMs: number;
}

/**
 * What `at` names for each of the volumes: one cut for all of them, unless it is a snapshot. `done` gets OperationError
 * not-found when one of them did not exist then, or its state of then is not kept, and never runs inside the call; what it
 * gets stays readable for a while, however far the horizon moves and whatever is deleted. Throws OperationError invalid,
 * not-found.
 */
export function resolveMoments(
  operator: Operator,
  volumes: readonly VolumeState[],
  at: string,
  done: Done<readonly ResolvedMoment[]>,
): void {
  const spec = momentSpec(at);
  if (spec.kind !== 'snapshot') {
    resolveCut(operator, { spec, volumes }, (outcome) => {
      if (!outcome.ok) done(outcome);
      else done(allOf(volumes.map((volume) => momentAt(operator, volume, outcome.value))));
    });
    return;
  }
  const moments = volumes.map((volume) => snapshotMoment(operator, volume, spec.name));
  operator.parts.host.timers.defer(() => {
    done(success(moments));
  });
}

function allOf<T>(outcomes: readonly Outcome<T>[]): Outcome<readonly T[]> {
  const values: T[] = [];
  for (const outcome of outcomes) {
    if (!outcome.ok) return outcome;
    values.push(outcome.value);
  }
  return success(values);
}

/** Throws OperationError not-found. */
function snapshotMoment(operator: Operator, volume: VolumeState, name: string): ResolvedMoment {
  const { line, cut, sizeBytes, createdMs, past } = operator.snapshot(volume.name, name);
  const timeMs = past === undefined ? createdMs : past.ticks / ticksPerMs;
  const moment = { line, cut, sizeBytes };
  operator.moments.lease(moment);
  return { label: `snapshot:${name}`, moment, timeMs };
}

/** The volume at a cut. */
function momentAt(
  operator: Operator,
  volume: VolumeState,
  { label, cut, timeMs }: ResolvedCut,
): Outcome<ResolvedMoment> {
  const moment = volumeAt(operator.parts.catalogue, volume, cut);
  if (moment !== undefined) {
    const isOpen = isKept(volume, cut) || operator.moments.isLeased(moment);
    if (!isOpen) return failure(notKept(volume, label, cut));
    operator.moments.lease(moment);
    return success({ label, moment, timeMs });
  }
  const kind = volume.view === undefined ? 'volume' : 'view';
  const made = formatMomentTime(volume.createdMs);
  const hint =
    kind === 'view'
      ? 'Name a later moment, or one of the volume that it is a view of.'
      : 'Name a later moment.';
  return failure(
    new OperationError(
      ErrorCode.notFound,
      `${kind} ${volume.name} did not exist at ${label}: it was made at ${made}`,
      hint,
    ),
  );
}

interface CutQuestion {
  readonly spec: Exclude<MomentSpec, { kind: 'snapshot' }>;
  readonly volumes: readonly VolumeState[];
}

/** Position of the log that `spec` (anything but a snapshot) means. `done` never runs inside the call. */
function resolveCut(
  operator: Operator,
  { spec, volumes }: CutQuestion,
  done: Done<ResolvedCut>,
): void {
  const { host } = operator.parts;
  const nowMs = host.clock.wallMs();
  const lastMs = operator.parts.writer?.log.lastHlcMs ?? 0;
  const finish = (find: () => ResolvedCut): void => {
    try {
      done(success(find()));
    } catch (thrown) {
      done(failure(thrown instanceof FormatError ? logUnreadable(thrown) : operationError(thrown)));
    }
  };
  if (spec.kind === 'position') {
    const { position } = spec;
    operator.timeline.prepareBefore(position, () => {
      finish(() => positionCut(operator, position, volumes));
    });
    return;
  }
  const pinned = spec.kind === 'time' ? pinnedCut(volumes, spec.timeMs) : undefined;
  if (pinned !== undefined) {
    host.timers.defer(() => {
      finish(() => pinned);
    });
    return;
  }
  if (spec.kind === 'now') {
    settleNow(operator, () => {
      finish(() => {
        const cut = operator.timeline.end();
        return { label: `position:${cut}`, cut, timeMs: nowMs };
      });
    });
    return;
  }
  const timeMs = spec.kind === 'time' ? spec.timeMs : nowMs - spec.agoMs;
  if (ticksOf(timeMs) > ticksOf(Math.max(nowMs, lastMs))) {
    const message = `${formatMomentTime(timeMs)} is in the future`;
    const hint = `Here it is ${formatMomentTime(nowMs)}.`;
    throw new OperationError(ErrorCode.invalid, message, hint);
  }
  const ticks = ticksOf(timeMs);
  settle(operator, ticks, () => {
    operator.timeline.prepareAt(ticks, () => {
      finish(() => {
        const cut = operator.timeline.cutAt(ticks);
        return { label: timeLabel(volumes, timeMs, cut), cut, timeMs };
      });
    });
  });
}

/** Before the horizon of a volume the time of one of its automatic pins names the pin. */
function pinnedCut(volumes: readonly VolumeState[], timeMs: number): ResolvedCut | undefined {
  for (const volume of volumes) {
    const cut = volume.pins.ofTime(timeMs)?.cut;
    if (cut !== undefined && cut < (volume.horizon?.position ?? 0)) {
      return { label: `position:${cut}`, cut, timeMs };
    }
  }
  return undefined;
}

/** A time that will name a pin one day, which may differ by what was written in the same millisecond, is no lasting name. */
function timeLabel(volumes: readonly VolumeState[], timeMs: number, cut: number): string {
  const isPinned = volumes.some(({ pins }) => pins.ofTime(timeMs) !== undefined);
  return isPinned ? `position:${cut}` : formatMomentTime(timeMs);
}

function positionCut(
  operator: Operator,
  position: number,
  volumes: readonly VolumeState[],
): ResolvedCut {
  const { timeline } = operator;
  const end = timeline.end();
  if (position > end) {
    const message = `position ${position} lies behind the end of the log, which is ${end}`;
    throw new OperationError(ErrorCode.invalid, message, `Use position:${end} or less.`);
  }
  const label = `position:${position}`;
  for (const { pins } of volumes) {
    const pin = pins.at(pins.indexOf(position));
    if (pin !== undefined) return { label, cut: position, timeMs: pin.timeMs };
  }
  const ticks = timeline.ticksBefore(position) ?? 0;
  return { label, cut: position, timeMs: ticks / ticksPerMs };
}

/**
 * Calls `done`, never inside the call, when every record up to `ticks` is durable and published: the log is idle, or what
 * is durable reaches beyond.
 */
function settle(operator: Operator, ticks: number, done: () => void): void {
  const { host, writer } = operator.parts;
  const look = (): void => {
    const isReached = (writer?.log.durableHlcMs ?? 0) * ticksPerMs > ticks;
    if (writer === undefined || writer.log.isIdle || isReached) {
      done();
      return;
    }
    writer.log.flush(() => {
      host.timers.after(limits.settlePollMs, look);
    });
  };
  // Never inside the publication of a frame: what follows in it is durable then, but not in the maps yet.
  host.timers.defer(look);
}

/** Calls `done`, never inside the call, when everything that was answered until now is durable. */
function settleNow({ parts: { host, writer } }: Operator, done: () => void): void {
  host.timers.defer(() => {
    if (writer === undefined) done();
    else {
      writer.log.flush(() => {
        host.timers.defer(done);
      });
    }
  });
}

/** The log is damaged where a moment lies. */
export function logUnreadable(error: FormatError): OperationError {
  return new OperationError(
    ErrorCode.internal,
    `the log cannot be read there: ${error.message}`,
    'Run "tidemark pool verify" to see where it is damaged.',
  );
}
