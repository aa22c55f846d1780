/** Something long that a person started: it has progress and, in the end, a result or an error. */
import { type Static, Type } from 'typebox';
import { ErrorBody, TimeMs } from './common.ts';
import { MomentPlace } from './history.ts';
import { PoolRebuildResult, PoolVerifyResult } from './pool.ts';
import { Space } from './space.ts';

const common = {
  id: Type.String(),
  startedMs: TimeMs,
  state: Type.Union([Type.Literal('running'), Type.Literal('succeeded'), Type.Literal('failed')]),
  finishedMs: Type.Optional(TimeMs),
  progress: Type.Optional(
    Type.Object({ done: Type.Number(), total: Type.Number(), unit: Type.Literal('segments') }),
  ),
  /** Present when `state` is failed. */
  error: Type.Optional(ErrorBody.properties.error),
};

export const PoolVerifyOperation = Type.Object({
  ...common,
  kind: Type.Literal('pool-verify'),
  /** Present when `state` is succeeded. */
  result: Type.Optional(PoolVerifyResult),
});
export type PoolVerifyOperation = Static<typeof PoolVerifyOperation>;

export const PoolRebuildOperation = Type.Object({
  ...common,
  kind: Type.Literal('pool-rebuild'),
  /** Present when `state` is succeeded. */
  result: Type.Optional(PoolRebuildResult),
});
export type PoolRebuildOperation = Static<typeof PoolRebuildOperation>;

export const MomentOpenOperation = Type.Object({
  ...common,
  kind: Type.Literal('moment-open'),
  /** Present when `state` is succeeded. */
  result: Type.Optional(MomentPlace),
});
export type MomentOpenOperation = Static<typeof MomentOpenOperation>;

export const SpaceOperation = Type.Object({
  ...common,
  kind: Type.Literal('pool-space'),
  /** Present when `state` is succeeded. */
  result: Type.Optional(Space),
});
export type SpaceOperation = Static<typeof SpaceOperation>;

export const Operation = Type.Union([
  PoolVerifyOperation,
  PoolRebuildOperation,
  MomentOpenOperation,
  SpaceOperation,
]);
export type Operation = Static<typeof Operation>;

/** The newest first. */
export const OperationList = Type.Object({ operations: Type.Array(Operation) });
export type OperationList = Static<typeof OperationList>;

export const OperationPath = Type.Object({ id: Type.String({ maxLength: 64 }) });
export type OperationPath = Static<typeof OperationPath>;
