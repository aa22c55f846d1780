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
import { ErrorCode, OperationError, success } from '../../base/errors.ts';
import { momentRule } from '../../base/moment.ts';
import type { LineSpan, VolumeState } from '../catalogue/catalogue.ts';
import { type CatalogueRecord, RevertReason } from '../catalogue/records.ts';
import { momentSpec, resolveMoments } from '../history/resolve.ts';
import type { BlockMap } from '../map/block-map.ts';
import { checkName } from './checks.ts';
import type { Moment } from './moment-maps.ts';
import { withMoments } from './open-moments.ts';
import type { Done, Operator } from './operator.ts';
import { checkVolumeRoom, newIdentity } from './volume-operations.ts';

/** A moment by name. `moment` undefined = now: the head, at the record's own position. */
interface NamedMoment {
  readonly label: string;
  readonly moment: Moment | undefined;
}

const now: NamedMoment = { label: 'now', moment: undefined };

/**
 * Finds the moment that `at` names for each of the volumes, one cut for all of them unless it is a snapshot, and calls
 * `action`, or ends the operation with an error. Throws OperationError invalid or not-found.
 */
function withNamed<T>(
  operator: Operator,
  { volumes, at }: { readonly volumes: readonly VolumeState[]; readonly at: string },
  done: Done<T>,
  action: (named: readonly NamedMoment[]) => void,
): void {
  if (momentSpec(at).kind === 'now') {
    action(volumes.map(() => now));
    return;
  }
  resolveMoments(operator, volumes, at, (outcome) => {
    if (!outcome.ok) done(outcome);
    else operator.attempt(done, () => action(outcome.value));
  });
}

export interface ViewTarget {
  readonly source: string;
  readonly name: string;
}

export interface ViewOptions {
  /** At least one. */
  readonly targets: readonly ViewTarget[];
  /** What `momentRule` allows: one moment for all of them. */
  readonly at: string;
  /** Make them volumes of their own at once. */
  readonly isClone: boolean;
}

/** Views of several volumes at one cut: all of them or none. */
export function viewsCreate(
  operator: Operator,
  options: ViewOptions,
  done: Done<readonly VolumeState[]>,
): void {
  operator.operate(done, (finish) => {
    const { targets, at, isClone } = options;
    const names = new Set<string>();
    const volumes = targets.map(({ source, name }) => {
      checkName(isClone ? 'volume' : 'view', name);
      if (names.has(name)) throw nameTwice(name);
      names.add(name);
      operator.checkNameFree(name);
      return operator.volume(source);
    });
    checkVolumeRoom(operator, targets.length);
    operator.requireRoom();
    withNamed(operator, { volumes, at }, finish, (named) => {
      const moments = named.map(({ moment }) => moment);
      withForks(operator, { moments, sources: volumes, left: undefined }, finish, (from) => {
        const records = targets.flatMap((target, index) =>
          viewRecords(
            operator,
            { ...target, isClone },
            {
              source: present(volumes[index], 'source of a view'),
              named: present(named[index], 'moment of a view'),
            },
          ),
        );
        const published = (): void => {
          from.release();
          finish(success(targets.map(({ name }) => operator.volume(name))));
        };
        operator.commit(records, published, from.fork);
      });
    });
  });
}

function nameTwice(name: string): OperationError {
  return new OperationError(
    ErrorCode.invalid,
    `"${name}" is wanted twice`,
    'Give each view a name of its own.',
  );
}

function viewRecords(
  operator: Operator,
  options: ViewTarget & { readonly isClone: boolean },
  { source, named }: { readonly source: VolumeState; readonly named: NamedMoment },
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
    policy: source.policy,
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
    withNamed(operator, { volumes: [source], at: options.at }, finish, ([named = now]) => {
      revert(operator, volume, { ...named, source, reason: RevertReason.refresh }, finish);
    });
  });
}

export function volumeRollback(
  operator: Operator,
  options: { readonly name: string; readonly to: string },
  done: Done<VolumeState>,
): void {
  operator.operate(done, (finish) => {
    const volume = operator.volume(options.name);
    if (momentSpec(options.to).kind === 'now') {
      throw new OperationError(
        ErrorCode.invalid,
        `${volume.name} is at "now" already`,
        `Name another moment: ${momentRule}.`,
      );
    }
    withNamed(operator, { volumes: [volume], at: options.to }, finish, ([named = now]) => {
      revert(operator, volume, { ...named, source: volume, reason: RevertReason.rollback }, finish);
    });
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

/** Where the maps of new lines come from; `release` gives back what was held for them. */
interface ForkFrom {
  /** The map of the next new line, in the order of the moments. */
  readonly fork: () => BlockMap;
  readonly release: () => void;
}

interface ForkOptions {
  /** One for each source; all of them undefined = now. */
  readonly moments: readonly (Moment | undefined)[];
  readonly sources: readonly VolumeState[];
  /** A volume that leaves its line for the new one: blocked, what is in flight finished. */
  readonly left: VolumeState | undefined;
}

/** Makes the maps of moments ready to fork, or keeps the heads of the sources still until the forks have their positions. */
function withForks<T>(
  operator: Operator,
  { moments, sources, left }: ForkOptions,
  done: Done<T>,
  action: (from: ForkFrom) => void,
): void {
  const leftLines = left === undefined ? [] : [left.line];
  const past = moments.filter((moment) => moment !== undefined);
  if (past.length === 0) {
    operator.lockLines([...sources.map(({ line }) => line), ...leftLines], (release) => {
      const heads = sources.map(({ line }) =>
        present(operator.parts.lineById.get(line), 'line of a volume'),
      );
      action({ fork: forkInTurn(heads), release });
    });
    return;
  }
  withMoments(operator, past, done, (opened) => {
    const fork = forkInTurn(opened);
    const close = (): void => {
      for (const each of opened) each.release();
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

function forkInTurn(from: readonly { readonly map: BlockMap }[]): () => BlockMap {
  let next = 0;
  return () => {
    const { map } = present(from[next], 'map of a moment');
    next += 1;
    return map.fork();
  };
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
  const from = { moments: [moment], sources: [source], left: volume };
  withForks(operator, from, finish, ({ fork, release }) => {
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
      release();
      finish(success(volume));
    };
    operator.commit([record], published, fork);
  });
}
