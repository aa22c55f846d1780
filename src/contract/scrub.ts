/** The scrubber: what it does, and what it found. */
import { type Static, Type } from 'typebox';
import { TimeMs } from './common.ts';

const MIN_BYTES_PER_SECOND = 65_536;

const common = {
  /** "off": it runs when it is started. */
  state: Type.Union([
    Type.Literal('running'),
    Type.Literal('paused'),
    Type.Literal('waiting'),
    Type.Literal('off'),
  ]),
  bytesPerSecond: Type.Number(),
  /** Of the pass that runs or is paused. */
  segmentsDone: Type.Number(),
  segmentCount: Type.Number(),
  passStartedMs: Type.Optional(TimeMs),
  /** While waiting: when the next pass begins. */
  nextPassMs: Type.Optional(TimeMs),
  lastPass: Type.Optional(
    Type.Object({
      startedMs: TimeMs,
      finishedMs: TimeMs,
      blocksChecked: Type.Number(),
      findingCount: Type.Number(),
      /** False when the engine was started again during the pass: then the next one compares the manifest. */
      isManifestChecked: Type.Boolean(),
    }),
  ),
  findingCount: Type.Number(),
};

export const ScrubSummary = Type.Object(common);

export const Scrub = Type.Object({
  ...common,
  /** At most a thousand of `findingCount`. */
  findings: Type.Array(
    Type.Object({
      foundMs: TimeMs,
      text: Type.String(),
      /** 0 = no segment. */
      segId: Type.Number(),
      /** Present for data: the volume that it was written to, and where, in bytes. */
      volume: Type.Optional(Type.String()),
      offset: Type.Optional(Type.Number()),
      length: Type.Optional(Type.Number()),
      /** Volumes and views whose present state has it; empty: only snapshots and history do. */
      presentIn: Type.Optional(Type.Array(Type.String())),
    }),
  ),
});
export type Scrub = Static<typeof Scrub>;

/** The rate is kept until another one is given. */
export const ScrubStart = Type.Object(
  {
    bytesPerSecond: Type.Optional(
      Type.Integer({ minimum: MIN_BYTES_PER_SECOND, maximum: Number.MAX_SAFE_INTEGER }),
    ),
  },
  { additionalProperties: false },
);
export type ScrubStart = Static<typeof ScrubStart>;
