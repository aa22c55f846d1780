/** Something long that a person started: it has progress and, in the end, a result or an error. */
import { type Static, type TSchema, Type } from 'typebox';
import { CleanerPass } from './cleaner.ts';
import { ErrorBody, TimeMs } from './common.ts';
import { MomentPlace } from './history.ts';
import { PoolRebuildResult, PoolVerifyResult } from './pool.ts';
import { Space } from './space.ts';

/** An operation of `kind`, whose success brings `result`. */
function operation<Kind extends string, Result extends TSchema>(kind: Kind, result: Result) {
  return Type.Object({
    id: Type.String(),
    startedMs: TimeMs,
    state: Type.Union([Type.Literal('running'), Type.Literal('succeeded'), Type.Literal('failed')]),
    finishedMs: Type.Optional(TimeMs),
    progress: Type.Optional(
      Type.Object({ done: Type.Number(), total: Type.Number(), unit: Type.Literal('segments') }),
    ),
    /** Present when `state` is failed. */
    error: Type.Optional(ErrorBody.properties.error),
    kind: Type.Literal(kind),
    /** Present when `state` is succeeded. */
    result: Type.Optional(result),
  });
}

export const PoolVerifyOperation = operation('pool-verify', PoolVerifyResult);
export type PoolVerifyOperation = Static<typeof PoolVerifyOperation>;

export const PoolRebuildOperation = operation('pool-rebuild', PoolRebuildResult);
export type PoolRebuildOperation = Static<typeof PoolRebuildOperation>;

export const PoolCleanOperation = operation('pool-clean', CleanerPass);
export type PoolCleanOperation = Static<typeof PoolCleanOperation>;

export const MomentOpenOperation = operation('moment-open', MomentPlace);
export type MomentOpenOperation = Static<typeof MomentOpenOperation>;

export const SpaceOperation = operation('pool-space', Space);
export type SpaceOperation = Static<typeof SpaceOperation>;

export const Operation = Type.Union([
  PoolVerifyOperation,
  PoolRebuildOperation,
  PoolCleanOperation,
  MomentOpenOperation,
  SpaceOperation,
]);
export type Operation = Static<typeof Operation>;

/** The newest first. */
export const OperationList = Type.Object({ operations: Type.Array(Operation) });
export type OperationList = Static<typeof OperationList>;

export const OperationPath = Type.Object({ id: Type.String({ maxLength: 64 }) });
export type OperationPath = Static<typeof OperationPath>;
