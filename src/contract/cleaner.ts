/** The cleaner: what it does, and what it has given back. */
import { type Static, Type } from 'typebox';
import { TimeMs } from './common.ts';

export const CleanerPass = Type.Object({
  /** Why it began, in words. */
  reason: Type.String(),
  startedMs: TimeMs,
  finishedMs: TimeMs,
  packCount: Type.Number(),
  /** Older packs among the files that they replaced. */
  packsReplaced: Type.Number(),
  /** Bytes of the packs, and how much less they are than the files that they replaced. */
  copiedBytes: Type.Number(),
  reclaimedBytes: Type.Number(),
  /** Why it was given up; absent: it was not. */
  fault: Type.Optional(Type.String()),
});
export type CleanerPass = Static<typeof CleanerPass>;

export const Cleaner = Type.Object({
  state: Type.Union([Type.Literal('idle'), Type.Literal('marking'), Type.Literal('packing')]),
  /** False: it cleans only when it is asked to. */
  isAutomatic: Type.Boolean(),
  /** How short of space the pool is. */
  pressure: Type.Union([Type.Literal('none'), Type.Literal('soft'), Type.Literal('hard')]),
  /** As it was judged last, less what was given back since; absent: not since the engine was started. */
  content: Type.Optional(
    Type.Object({ liveBytes: Type.Number(), garbageBytes: Type.Number(), judgedMs: TimeMs }),
  ),
  packCount: Type.Number(),
  packBytes: Type.Number(),
  lastPass: Type.Optional(CleanerPass),
  /** Since the engine was started: bytes logged, bytes of packs, bytes given back. */
  loggedBytes: Type.Number(),
  copiedBytes: Type.Number(),
  reclaimedBytes: Type.Number(),
  /** Bytes logged and copied for each that was logged; absent while nothing was. */
  writeAmplification: Type.Optional(Type.Number()),
});
export type Cleaner = Static<typeof Cleaner>;
