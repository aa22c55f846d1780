/** Hostile bytes: valid structures with bytes changed, and what a decoder may make of them. */
import * as fc from 'fast-check';
import { FormatError } from '../../src/volume/format/format-error.ts';

export const runs = { numRuns: 1500 } as const;

/** Runs `decode` and returns its value; undefined when it threw FormatError. Anything else it throws fails the test. */
export function tolerated<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (thrown) {
    if (thrown instanceof FormatError) return undefined;
    throw thrown;
  }
}

/** A few bytes set to values that decoders find hard, most of them near the start where the fields are. */
export function changes(length: number): fc.Arbitrary<readonly (readonly [number, number])[]> {
  const place = fc.oneof(
    fc.integer({ min: 0, max: Math.min(length, 160) - 1 }),
    fc.integer({ min: 0, max: length - 1 }),
  );
  const value = fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 }));
  return fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 12 });
}

export function changed(
  original: Uint8Array,
  list: readonly (readonly [number, number])[],
): Uint8Array {
  const copy = original.slice();
  for (const [place, value] of list) copy[place] = value;
  return copy;
}
