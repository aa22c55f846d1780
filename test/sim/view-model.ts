/**
 * What a pool with views, clones, rollbacks and undos must hold: the model of `model.ts` with lineage beside it.
 *
 *     volumes      contents, size, snapshots by id      (data operations: as in model.ts)
 *     lineageById  what it is a view of, the state that its last revert left, how its history went
 *
 * A view, a refresh, a rollback and an undo are the same thing here: the contents become those of a moment.
 */
import { present, unreachable } from '../../src/base/assert.ts';
import { ErrorCode } from '../../src/base/errors.ts';
import type { ContentTable } from './content.ts';
import {
  applyOp,
  type DataOp,
  describeOp,
  type ModelOp,
  type ModelSnapshot,
  type ModelVolume,
  type PoolState,
  volumeByName,
} from './model.ts';

/** `at`, `to`: name of a snapshot; undefined = now. */
export type LineageOp =
  | {
      readonly kind: 'viewCreate';
      readonly volume: number;
      readonly source: number;
      readonly name: string;
      readonly at: string | undefined;
      readonly isClone: boolean;
    }
  | { readonly kind: 'viewRefresh'; readonly volume: number; readonly at: string | undefined }
  | { readonly kind: 'viewPromote' | 'volumeUndo'; readonly volume: number }
  | { readonly kind: 'volumeRollback'; readonly volume: number; readonly to: string }
  | { readonly kind: 'volumeSetAck'; readonly volume: number; readonly isWriteBack: boolean }
  /** Snapshots of several volumes at one cut. */
  | {
      readonly kind: 'snapshotCut';
      readonly volume: number;
      readonly others: readonly number[];
      readonly name: string;
    };

export type ViewOp = ModelOp | LineageOp;
export type CatalogueOp = Exclude<ViewOp, DataOp>;

export interface Lineage {
  /** What it is a view of; undefined for a volume of its own. The source may be gone. */
  readonly source: number | undefined;
  /** What the latest rollback, refresh or undo left. */
  readonly left: ModelSnapshot | undefined;
  /** How each stretch of its history began. */
  readonly history: readonly string[];
}

export interface ViewState {
  readonly volumes: PoolState;
  readonly lineageById: ReadonlyMap<number, Lineage>;
}

export const emptyState: ViewState = { volumes: new Map(), lineageById: new Map() };

export function lineageOf(state: ViewState, id: number): Lineage {
  return present(state.lineageById.get(id), `lineage of volume ${id}`);
}

const lineageKinds: ReadonlySet<ViewOp['kind']> = new Set([
  'viewCreate',
  'viewRefresh',
  'viewPromote',
  'volumeUndo',
  'volumeRollback',
  'volumeSetAck',
  'snapshotCut',
]);

function isLineageOp(op: ViewOp): op is LineageOp {
  return lineageKinds.has(op.kind);
}

/** A moment of a volume; undefined when there is no such snapshot. */
function momentOf(volume: ModelVolume, at: string | undefined): ModelSnapshot | undefined {
  return at === undefined ? volume : volume.snapshotByName.get(at);
}

function withLineage(state: ViewState, id: number, lineage: Lineage): ViewState {
  return { ...state, lineageById: new Map(state.lineageById).set(id, lineage) };
}

function withVolume(state: ViewState, volume: ModelVolume): ViewState {
  return { ...state, volumes: new Map(state.volumes).set(volume.id, volume) };
}

/** The volume goes on from `moment`; what it held is what an undo brings back. */
function reverted(
  state: ViewState,
  volume: ModelVolume,
  moment: ModelSnapshot,
  reason: string,
): ViewState {
  const { sizeBytes, blocks } = moment;
  const lineage = lineageOf(state, volume.id);
  const left = { sizeBytes: volume.sizeBytes, blocks: volume.blocks };
  const history = [...lineage.history, reason];
  const next = withVolume(state, { ...volume, sizeBytes, blocks });
  return withLineage(next, volume.id, { ...lineage, left, history });
}

function viewCreated(state: ViewState, op: Extract<ViewOp, { kind: 'viewCreate' }>): ViewState {
  const source = present(state.volumes.get(op.source), 'source of a view');
  const { sizeBytes, blocks } = present(momentOf(source, op.at), 'moment of a view');
  const next = withVolume(state, {
    id: op.volume,
    name: op.name,
    sizeBytes,
    blocks,
    isWriteBack: source.isWriteBack,
    luState: undefined,
    snapshotByName: new Map(),
  });
  const from = op.isClone ? undefined : op.source;
  return withLineage(next, op.volume, { source: from, left: undefined, history: ['view'] });
}

function refreshed(state: ViewState, volume: ModelVolume, at: string | undefined): ViewState {
  const source = present(
    state.volumes.get(lineageOf(state, volume.id).source ?? 0),
    'source of a view',
  );
  return reverted(state, volume, present(momentOf(source, at), 'moment of a refresh'), 'refresh');
}

/** The state after `op`, which `refusalOf` would not refuse. */
export function applyViewOp(state: ViewState, op: ViewOp, contents: ContentTable): ViewState {
  if (op.kind === 'viewCreate') return viewCreated(state, op);
  if (isLineageOp(op)) return changedLineage(state, op, contents);
  const next = { ...state, volumes: applyOp(state.volumes, op, contents) };
  if (op.kind !== 'volumeCreate') return next;
  const lineage = { source: undefined, left: undefined, history: ['created'] };
  return withLineage(next, op.volume, lineage);
}

function changedLineage(
  state: ViewState,
  op: Exclude<LineageOp, { kind: 'viewCreate' }>,
  contents: ContentTable,
): ViewState {
  const volume = present(state.volumes.get(op.volume), 'volume of an operation');
  const lineage = lineageOf(state, op.volume);
  switch (op.kind) {
    case 'viewRefresh':
      return refreshed(state, volume, op.at);
    case 'viewPromote':
      return withLineage(state, op.volume, { ...lineage, source: undefined });
    case 'volumeUndo':
      return reverted(state, volume, present(lineage.left, 'what a revert left'), 'undo');
    case 'volumeRollback':
      return reverted(state, volume, present(momentOf(volume, op.to), 'snapshot'), 'rollback');
    case 'volumeSetAck':
      return withVolume(state, { ...volume, isWriteBack: op.isWriteBack });
    case 'snapshotCut': {
      let { volumes } = state;
      for (const id of [op.volume, ...op.others]) {
        volumes = applyOp(volumes, { kind: 'snapshotCreate', volume: id, name: op.name }, contents);
      }
      return { ...state, volumes };
    }
    default:
      return unreachable(op);
  }
}

function hasSnapshot(state: ViewState, id: number, name: string): boolean {
  return state.volumes.get(id)?.snapshotByName.has(name) === true;
}

/** not-found unless the volume has the moment. */
function missing(state: ViewState, id: number, at: string | undefined): ErrorCode | undefined {
  return at === undefined || hasSnapshot(state, id, at) ? undefined : ErrorCode.notFound;
}

function taken(state: ViewState, name: string): ErrorCode | undefined {
  return volumeByName(state.volumes, name) === undefined ? undefined : ErrorCode.exists;
}

/** With which code the store must refuse `op` in this state; undefined = it must do it. */
export function refusalOf(state: ViewState, op: CatalogueOp): ErrorCode | undefined {
  if (isLineageOp(op)) return lineageRefusal(state, op);
  switch (op.kind) {
    case 'volumeCreate':
    case 'volumeRename':
      return taken(state, op.name);
    case 'snapshotDelete':
      return missing(state, op.volume, op.name);
    case 'snapshotCreate':
      return hasSnapshot(state, op.volume, op.name) ? ErrorCode.exists : undefined;
    case 'volumeResize':
    case 'volumeDelete':
    case 'luState':
      return undefined;
    default:
      return unreachable(op);
  }
}

function lineageRefusal(state: ViewState, op: LineageOp): ErrorCode | undefined {
  switch (op.kind) {
    case 'viewCreate':
      return taken(state, op.name) ?? missing(state, op.source, op.at);
    case 'viewRefresh': {
      const { source } = lineageOf(state, op.volume);
      if (source === undefined) return ErrorCode.conflict;
      return state.volumes.has(source) ? missing(state, source, op.at) : ErrorCode.notFound;
    }
    case 'viewPromote':
      return lineageOf(state, op.volume).source === undefined ? ErrorCode.conflict : undefined;
    case 'volumeUndo':
      return lineageOf(state, op.volume).left === undefined ? ErrorCode.conflict : undefined;
    case 'volumeRollback':
      return missing(state, op.volume, op.to);
    case 'snapshotCut': {
      const isAnyThere = [op.volume, ...op.others].some((id) => hasSnapshot(state, id, op.name));
      return isAnyThere ? ErrorCode.exists : undefined;
    }
    case 'volumeSetAck':
      return undefined;
    default:
      return unreachable(op);
  }
}

/** Whether the volume's open devices end with `op`: it moves to another line, or it is deleted. */
export function endsDevices(op: ViewOp): boolean {
  return (
    op.kind === 'viewRefresh' ||
    op.kind === 'volumeRollback' ||
    op.kind === 'volumeUndo' ||
    op.kind === 'volumeDelete'
  );
}

/** For traces. */
export function describeViewOp(op: ViewOp): string {
  if (!isLineageOp(op)) return describeOp(op);
  switch (op.kind) {
    case 'viewCreate': {
      const what = op.isClone ? 'clone' : 'view';
      return `${what} ${op.volume} "${op.name}" of ${op.source} at ${op.at ?? 'now'}`;
    }
    case 'viewRefresh':
      return `refresh ${op.volume} at ${op.at ?? 'now'}`;
    case 'viewPromote':
    case 'volumeUndo':
      return `${op.kind} ${op.volume}`;
    case 'volumeRollback':
      return `rollback ${op.volume} to ${op.to}`;
    case 'volumeSetAck':
      return `set ${op.volume} ${op.isWriteBack ? 'write-back' : 'durable'}`;
    case 'snapshotCut':
      return `cut "${op.name}" of ${[op.volume, ...op.others].join(', ')}`;
    default:
      return unreachable(op);
  }
}
