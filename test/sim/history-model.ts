/**
 * What a pool must have held at each of the moments that a history run has noted: per volume one number a block, that of the
 * write that it holds, or `hole` or `zeros`. Equal numbers are equal versions, so a diff is a comparison of numbers.
 */
export const hole = 0;
const zeros = -1;

export interface BlockOp {
  readonly volume: string;
  readonly kind: 'write' | 'trim' | 'zero' | 'thick-zero';
  readonly first: number;
  readonly count: number;
  /** Of a write; its blocks hold this number. */
  readonly sequence: number;
}

export interface VolumeModel {
  readonly blocks: readonly number[];
  /** What it was made a view of; undefined for a volume. */
  readonly source: string | undefined;
  /** States that its rollbacks and refreshes left, the newest last. */
  readonly left: readonly (readonly number[])[];
  /** Changes since it was made: what a search halves. */
  readonly changeCount: number;
}

export type PoolModel = ReadonlyMap<string, VolumeModel>;

/** A moment of a run that is known exactly. */
export interface NotedMoment {
  readonly position: number;
  /** Undefined when the wall clock did not tell this moment from others. */
  readonly timeMs: number | undefined;
  /** How the wall clock was set then. */
  readonly wallOffsetMs: number;
  readonly state: PoolModel;
  /** What was submitted in one turn after the moment before, in this order; nothing else happened in between. */
  readonly batch: readonly BlockOp[];
}

export function applied(state: PoolModel, op: BlockOp): PoolModel {
  const volume = state.get(op.volume);
  if (volume === undefined) return state;
  const blocks = [...volume.blocks];
  const value = op.kind === 'write' ? op.sequence : op.kind === 'thick-zero' ? zeros : hole;
  blocks.fill(value, op.first, op.first + op.count);
  return replaced(state, op.volume, { ...volume, blocks, changeCount: volume.changeCount + 1 });
}

export function replaced(
  state: PoolModel,
  name: string,
  volume: VolumeModel | undefined,
): PoolModel {
  const next = new Map(state);
  if (volume === undefined) next.delete(name);
  else next.set(name, volume);
  return next;
}

/** The volume goes on with other blocks: a rollback, a refresh or an undo. */
export function reverted(volume: VolumeModel, blocks: readonly number[]): VolumeModel {
  const left = [...volume.left, volume.blocks];
  return { ...volume, blocks, left, changeCount: volume.changeCount + 1 };
}

/** What a reader of the block sees. */
export function contentOf(value: number): number {
  return Math.max(0, value);
}

/** Indexes of the blocks of `to` that are another version than in `from`. */
export function changedBlocks(from: readonly number[], to: readonly number[]): number[] {
  return to.flatMap((value, block) => (value === (from[block] ?? hole) ? [] : [block]));
}
