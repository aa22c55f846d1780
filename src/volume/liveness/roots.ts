/**
 * Roots: the moments that hold blocks, whatever becomes of history: the present of every volume and view, every snapshot,
 * and what the newest rollback or refresh of each left (undo goes back there).
 *
 *     line 1:  snap a ─── snap b ──────────── snap c ─── (left)       order:  a  b  d  e  c  (left)  f
 *                            └─ line 2: snap d ─ e (view)   └─ line 3: f (present)
 *
 * In this order neighbours differ least: a line that begins behind a moment follows it.
 */
import type { Catalogue, VolumeState } from '../catalogue/catalogue.ts';
import type { Moment } from '../core/moment-maps.ts';
import { type LineRetention, retentionOf } from '../retention/retention.ts';

export type RootKind = 'present' | 'snapshot' | 'undo';

export interface Root {
  readonly kind: RootKind;
  readonly volume: VolumeState;
  /** Of a snapshot; else empty. */
  readonly name: string;
  readonly createdMs: number;
  readonly moment: Moment;
}

/** All roots, in the order of the walk; the present is what lies before `end`. */
export function rootsOf(catalogue: Catalogue, end: number): Root[] {
  return inWalkOrder(
    catalogue,
    catalogue.volumes().flatMap((volume) => rootsOfVolume(volume, end)),
  );
}

function rootsOfVolume(volume: VolumeState, end: number): Root[] {
  const { line, sizeBytes, createdMs } = volume;
  const present = { line, cut: end, sizeBytes };
  const roots: Root[] = [{ kind: 'present', volume, name: '', createdMs, moment: present }];
  for (const snapshot of volume.snapshotByName.values()) {
    const { name, cut } = snapshot;
    const moment = { line: snapshot.line, cut, sizeBytes: snapshot.sizeBytes };
    roots.push({ kind: 'snapshot', volume, name, createdMs: snapshot.createdMs, moment });
  }
  const left = volume.history.findLast((span) => span.leftAt !== undefined);
  if (left?.leftAt !== undefined) {
    const { position, sizeBytes: leftSize } = left.leftAt;
    const moment = { line: left.line, cut: position, sizeBytes: leftSize };
    roots.push({ kind: 'undo', volume, name: '', createdMs, moment });
  }
  return roots;
}

/** Tells whether states that were kept a while ago are kept still, as of when it is asked first. */
export function keptStill(catalogue: Catalogue): (root: Pick<Root, 'kind' | 'moment'>) => boolean {
  let byLine: Map<number, LineRetention> | undefined;
  return ({ kind, moment: { line, cut } }) => {
    // The present was forked when the walk began.
    if (kind === 'present') return true;
    byLine ??= new Map(retentionOf(catalogue, []).map((kept) => [kept.line, kept]));
    const kept = byLine.get(line);
    if (kept === undefined) return false;
    return kept.pins.includes(cut) || (kept.windowFrom <= cut && cut <= kept.windowTo);
  };
}

interface WithMoment {
  readonly moment: Moment;
}

/** A root, or a whole line that begins there. */
interface Step<R> {
  readonly at: number;
  readonly root?: R;
  readonly line?: number;
}

/** The roots in the order of the walk. */
export function inWalkOrder<R extends WithMoment>(catalogue: Catalogue, roots: readonly R[]): R[] {
  const stepsByLine = new Map<number, Step<R>[]>();
  const add = (line: number, step: Step<R>): void => {
    const steps = stepsByLine.get(line);
    if (steps === undefined) stepsByLine.set(line, [step]);
    else steps.push(step);
  };
  for (const { id, parentLine, forkPosition } of catalogue.lines()) {
    add(parentLine, { at: forkPosition, line: id });
  }
  for (const root of roots) add(root.moment.line, { at: root.moment.cut, root });
  const ordered: R[] = [];
  // Line 0 is none: what has no parent begins there. Steps that are still to be taken, the next one last.
  const open = stepsInOrder(stepsByLine, 0).toReversed();
  for (let step = open.pop(); step !== undefined; step = open.pop()) {
    if (step.root !== undefined) ordered.push(step.root);
    if (step.line === undefined) continue;
    for (const inner of stepsInOrder(stepsByLine, step.line).toReversed()) open.push(inner);
  }
  return ordered;
}

function stepsInOrder<R>(stepsByLine: ReadonlyMap<number, Step<R>[]>, line: number): Step<R>[] {
  const steps = stepsByLine.get(line) ?? [];
  return steps.sort(
    (left, right) =>
      left.at - right.at || Number(left.root === undefined) - Number(right.root === undefined),
  );
}
