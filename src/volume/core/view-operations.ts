/**
 * Catalogue operations that begin a new line somewhere in an old one: views, clones, refresh, rollback, undo.
 *
 *     view      new identity, new line           refresh   same view, new line from another moment of its source
 *     clone     view of now, promoted            rollback  same volume, new line from a snapshot; the old line stays
 *     promote   the view becomes a volume        undo      same volume, new line from the end of the one it left
 *
 * Nothing is copied: the new line's map is a fork of the moment's. Where the moment's map must be made first (by replay, in
 * slices), this and later catalogue operations wait for it; I/O goes on.
 */
import { present } from '../../base/assert.ts';
import { ErrorCode, failure, OperationError, success } from '../../base/errors.ts';
import type { LineSpan, VolumeState } from '../catalogue/catalogue.ts';
import { type CatalogueRecord, RevertReason } from '../catalogue/records.ts';
import type { BlockMap } from '../map/block-map.ts';
import { checkName } from './checks.ts';
import type { Moment, OpenMoment } from './moment-maps.ts';
import type { Done, Operator } from './operator.ts';
import { checkVolumeRoom, newIdentity } from './volume-operations.ts';

const snapshotPrefix = 'snapshot:';

/** A moment by name. `moment` undefined = now: the head, at the record's own position. */
interface NamedMoment {
  readonly label: string;
  readonly moment: Moment | undefined;
}

/** Resolves "now" or "snapshot:NAME" of a volume. Throws OperationError. */
function namedMoment(operator: Operator, volume: VolumeState, at: string): NamedMoment {
  if (at === 'now') return { label: at, moment: undefined };
  if (!at.startsWith(snapshotPrefix)) {
    throw new OperationError(
      ErrorCode.invalid,
      `"${at}" names no moment of ${volume.name}`,
      'Use snapshot:NAME or now.',
    );
  }
  const snapshot = operator.snapshot(volume.name, at.slice(snapshotPrefix.length));
  const { line, cut, sizeBytes } = snapshot;
  return { label: at, moment: { line, cut, sizeBytes } };
}

/** Throws OperationError unless `at` names a moment of the volume. */
export function checkMoment(operator: Operator, volume: VolumeState, at: string): void {
  namedMoment(operator, volume, at);
}

/** Calls `action` with the moment's map, or ends the operation with an error. */
function withMoment<T>(
  operator: Operator,
  moment: Moment,
  done: Done<T>,
  action: (opened: OpenMoment) => void,
): void {
  operator.moments.open(moment, (opened) => {
    if (opened !== undefined) {
      action(opened);
      return;
    }
    const message = 'that moment cannot be read: the log is damaged';
    const hint = 'Run "tidemark pool verify" to see where.';
    done(failure(new OperationError(ErrorCode.internal, message, hint)));
  });
}

export interface ViewOptions {
  readonly source: string;
  readonly name: string;
  /** "snapshot:NAME" or "now". */
  readonly at: string;
  /** Make it a volume of its own at once. */
  readonly isClone: boolean;
}

export function viewCreate(
  operator: Operator,
  options: ViewOptions,
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const source = operator.volume(options.source);
    checkName(options.isClone ? 'volume' : 'view', options.name);
    operator.checkNameFree(options.name);
    checkVolumeRoom(operator);
    const named = namedMoment(operator, source, options.at);
    const records = viewRecords(operator, source, options, named);
    withFork(operator, { moment: named.moment, source, left: undefined }, finish, (from) => {
      const published = (): void => {
        from.release();
        finish(success(operator.volume(options.name)));
      };
      operator.commit(records, published, from.fork);
    });
  });
}

function viewRecords(
  operator: Operator,
  source: VolumeState,
  options: ViewOptions,
  named: NamedMoment,
): CatalogueRecord[] {
  const { catalogue, host } = operator.parts;
  const identity = newIdentity(operator);
  const line = catalogue.takeLine();
  const view: CatalogueRecord = {
    kind: 'view',
    line,
    ...identity,
    name: options.name,
    sizeBytes: named.moment?.sizeBytes ?? source.sizeBytes,
    ack: source.ack,
    createdMs: Math.floor(host.clock.wallMs()),
    parentLine: named.moment?.line ?? source.line,
    forkPosition: named.moment?.cut,
    sourceUuid: source.uuid,
    label: named.label,
  };
  const { uuid } = identity;
  return options.isClone ? [view, { kind: 'promote', line, uuid }] : [view];
}

/** Throws OperationError when the volume is no view. */
function checkIsView(volume: VolumeState): void {
  if (volume.view !== undefined) return;
  throw new OperationError(
    ErrorCode.conflict,
    `${volume.name} is a volume, not a view`,
    'List views with "tidemark view list".',
  );
}

export function viewPromote(operator: Operator, name: string, done: Done<VolumeState>): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(name);
    checkIsView(volume);
    const { uuid, line } = volume;
    operator.commit([{ kind: 'promote', line, uuid }], () => {
      finish(success(volume));
    });
  });
}

/** The view goes on at another moment of its source; what was written to it is left behind in its history. */
export function viewRefresh(
  operator: Operator,
  options: { readonly name: string; readonly at: string },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    checkIsView(volume);
    const source =
      volume.view === undefined
        ? undefined
        : operator.parts.catalogue.volumeById(volume.view.sourceUuid);
    if (source === undefined) {
      throw new OperationError(
        ErrorCode.notFound,
        `the volume that ${volume.name} is a view of was deleted`,
        'The view itself stays usable; promote it, or make a view of another volume.',
      );
    }
    const named = namedMoment(operator, source, options.at);
    revert(operator, volume, { ...named, source, reason: RevertReason.refresh }, finish);
  });
}

export function volumeRollback(
  operator: Operator,
  options: { readonly name: string; readonly to: string },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    const { moment, label } = namedMoment(operator, volume, options.to);
    if (moment === undefined) {
      throw new OperationError(
        ErrorCode.invalid,
        `${volume.name} is at "now" already`,
        'Name a snapshot: --to snapshot:NAME.',
      );
    }
    revert(
      operator,
      volume,
      { moment, source: volume, label, reason: RevertReason.rollback },
      finish,
    );
  });
}

/** Goes back to the line that the latest rollback or refresh left, as it was then. */
export function volumeUndoRollback(
  operator: Operator,
  name: string,
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(name);
    const left = volume.history.findLast((span) => span.leftAt !== undefined);
    if (left?.leftAt === undefined) {
      throw new OperationError(
        ErrorCode.conflict,
        `${volume.name} was never rolled back`,
        `See "tidemark volume history ${volume.name}".`,
      );
    }
    const { position, sizeBytes } = left.leftAt;
    const moment = { line: left.line, cut: position, sizeBytes };
    const label = `before ${describeSpan(volume.history.at(-1))}`;
    revert(operator, volume, { moment, source: volume, label, reason: RevertReason.undo }, finish);
  });
}

/** An undo is not described by what it undid: the text of an undo of an undo of ... would grow without end. */
function describeSpan(span: LineSpan | undefined): string {
  if (span === undefined) return '';
  return span.reason === 'undo' ? span.reason : `${span.reason} to ${span.label}`;
}

interface RevertTo {
  /** Undefined = the present of `source`. */
  readonly moment: Moment | undefined;
  readonly source: VolumeState;
  readonly label: string;
  readonly reason: RevertReason;
}

/** Where a new line's map comes from; `release` gives back what was held for it. */
interface ForkFrom {
  readonly fork: () => BlockMap;
  readonly release: () => void;
}

interface ForkOptions {
  readonly moment: Moment | undefined;
  readonly source: VolumeState;
  /** A volume that leaves its line for the new one: blocked, what is in flight finished. */
  readonly left: VolumeState | undefined;
}

/** Makes the map of a moment ready to fork, or keeps the head of `source` still until the fork has its position. */
function withFork<T>(
  operator: Operator,
  { moment, source, left }: ForkOptions,
  done: Done<T>,
  action: (from: ForkFrom) => void,
): void {
  const leftLines = left === undefined ? [] : [left.line];
  if (moment === undefined) {
    operator.lockLines([source.line, ...leftLines], (release) => {
      const head = present(operator.parts.lineById.get(source.line), 'line of a volume');
      action({ fork: () => head.map.fork(), release });
    });
    return;
  }
  withMoment(operator, moment, done, (opened) => {
    const fork = (): BlockMap => opened.map.fork();
    const close = (): void => {
      opened.release();
    };
    if (left === undefined) {
      action({ fork, release: close });
      return;
    }
    operator.lockLines(leftLines, (release) => {
      const releaseBoth = (): void => {
        close();
        release();
      };
      action({ fork, release: releaseBoth });
    });
  });
}

/** Blocks the volume, lets what is in flight finish, and moves it to a new line. Open devices answer shuttingDown afterwards. */
function revert(
  operator: Operator,
  volume: VolumeState,
  to: RevertTo,
  finish: Done<VolumeState>,
): void {
  const { catalogue, host } = operator.parts;
  const { moment, source, reason, label } = to;
  withFork(operator, { moment, source, left: volume }, finish, (from) => {
    const record: CatalogueRecord = {
      kind: 'revert',
      line: catalogue.takeLine(),
      uuid: volume.uuid,
      parentLine: moment?.line ?? source.line,
      forkPosition: moment?.cut,
      sizeBytes: moment?.sizeBytes ?? source.sizeBytes,
      reason,
      label,
      createdMs: Math.floor(host.clock.wallMs()),
    };
    const published = (): void => {
      from.release();
      finish(success(volume));
    };
    operator.commit([record], published, from.fork);
  });
}
