/** Shapes that several nouns share: names, sizes, times, and the body of every error. */
import { type Static, Type } from 'typebox';

/** Volumes and snapshots; unique per pool and per volume. `@` and `/` are left out because exports are named VOL@SNAP. */
export const Name = Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' });

/** What a person is told when a name breaks the rule of `Name`. */
export const nameRule = '1 to 128 letters, digits, dots, underscores and hyphens';

/** A size in bytes that fits whole 4 KiB blocks. */
const SIZE_STEP_BYTES = 4096;
export const SizeBytes = Type.Integer({
  minimum: SIZE_STEP_BYTES,
  maximum: Number.MAX_SAFE_INTEGER,
  multipleOf: SIZE_STEP_BYTES,
});

/** A moment of a volume, as base/moment.ts reads it: a snapshot, now, a time, an age or a position. */
export const Moment = Type.String({ format: 'moment' });

/** Milliseconds since 1970. */
export const TimeMs = Type.Number();

/** Query of requests that destroy something. */
export const ForceQuery = Type.Object(
  { force: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])) },
  { additionalProperties: false },
);
export type ForceQuery = Static<typeof ForceQuery>;

/** Body of every answer that is not a success. */
export const ErrorBody = Type.Object({
  error: Type.Object({
    code: Type.String(),
    message: Type.String(),
    hint: Type.Optional(Type.String()),
  }),
});
export type ErrorBody = Static<typeof ErrorBody>;
