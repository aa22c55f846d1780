/** TimeViews: writable volumes over a moment of another one. */
import { type Static, Type } from 'typebox';
import { Moment, Name } from './common.ts';
import { volumeFields } from './volume.ts';

export const View = Type.Object({
  ...volumeFields,
  /** Name of the volume it is a view of; absent when that was deleted. */
  source: Type.Optional(Type.String()),
  sourceUuid: Type.String(),
  /** The moment that it shows, before what was written to it. */
  at: Type.String(),
});
export type View = Static<typeof View>;

export const ViewList = Type.Object({ views: Type.Array(View) });
export type ViewList = Static<typeof ViewList>;

/** Only views of this volume. */
export const ViewQuery = Type.Object(
  { source: Type.Optional(Name) },
  { additionalProperties: false },
);
export type ViewQuery = Static<typeof ViewQuery>;

export const ViewCreate = Type.Object(
  { source: Name, name: Name, at: Moment },
  { additionalProperties: false },
);
export type ViewCreate = Static<typeof ViewCreate>;

/** Several views at one cut: all of them or none. */
export const ViewsCreate = Type.Object(
  {
    at: Moment,
    views: Type.Array(Type.Object({ source: Name, name: Name }, { additionalProperties: false }), {
      minItems: 1,
      maxItems: 64,
    }),
  },
  { additionalProperties: false },
);
export type ViewsCreate = Static<typeof ViewsCreate>;

/** With clients connected this is refused without `disconnect`. */
export const ViewRefresh = Type.Object(
  { at: Moment, disconnect: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type ViewRefresh = Static<typeof ViewRefresh>;

export const ViewPath = Type.Object({ name: Name });
export type ViewPath = Static<typeof ViewPath>;
