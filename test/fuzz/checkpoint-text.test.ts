/** Fuzz of the reader of checkpoints: whatever the text, a catalogue or FormatError. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalogueText } from '../../src/volume/catalogue/catalogue-text.ts';
import { parseCatalogue } from '../../src/volume/catalogue/checkpoint.ts';
import { parseJson } from '../../src/volume/catalogue/json-steps.ts';
import { FormatError } from '../../src/volume/format/format-error.ts';
import { finish } from '../../src/volume/steps.ts';
import { diceRolls, randomCatalogue } from '../support/random-catalogue.ts';
import { tolerated } from './hostile-bytes.ts';

describe('reader of checkpoints', () => {
  it('answers any JSON with a catalogue or FormatError', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        tolerated(() => finish(parseCatalogue(text, 1)));
      }),
      { numRuns: 2000 },
    );
  });

  it('answers any change of a catalogue with a catalogue or FormatError', () => {
    const change = fc.record({ at: fc.nat(), text: fc.string({ maxLength: 6 }), cut: fc.nat(12) });
    fc.assert(
      fc.property(diceRolls, fc.array(change, { minLength: 1, maxLength: 4 }), (rolls, list) => {
        let text = catalogueText(randomCatalogue(rolls));
        for (const { at, text: put, cut } of list) {
          const from = at % (text.length + 1);
          text = text.slice(0, from) + put + text.slice(from + cut);
        }
        tolerated(() => finish(parseCatalogue(text, 1)));
      }),
      { numRuns: 2000 },
    );
  });

  it('answers any value in the place of any other with a catalogue or FormatError', () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(0, 1, 2 ** 53, -1, 0.5, '', null));
    fc.assert(
      fc.property(diceRolls, fc.nat(), value, (rolls, at, put) => {
        const text = catalogueText(randomCatalogue(rolls));
        let count = 0;
        const places = text.split(/[:,]/).length;
        const changed: unknown = JSON.parse(text, (_key, old: unknown) => {
          count += 1;
          return count === (at % places) + 1 ? put : old;
        });
        tolerated(() => finish(parseCatalogue(JSON.stringify(changed), 1)));
      }),
      { numRuns: 2000 },
    );
  });
});

/** Values whose texts are longer than the windows that they are read by: lists of the same ones over and over, in each other. */
function longOf(values: readonly unknown[], times: number): unknown {
  const list = Array.from({ length: times }, (_, index) => [index, ...values]);
  return {
    empty: [],
    list,
    values,
    text: JSON.stringify(list),
    nested: { list: [list, {}], end: 1 },
  };
}

/** Undefined = refused. */
function readBy(read: () => unknown): { readonly value: unknown } | undefined {
  try {
    return { value: read() };
  } catch (thrown) {
    if (thrown instanceof FormatError || thrown instanceof SyntaxError) return undefined;
    throw thrown;
  }
}

describe('reader of JSON in steps', () => {
  const values = fc.array(fc.jsonValue(), { maxLength: 4 });
  const times = fc.constantFrom(0, 1, 60, 700, 2500);

  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(values, times, (list, count) => {
        const text = JSON.stringify(longOf(list, count));
        expect(finish(parseJson(text))).toEqual(JSON.parse(text));
      }),
      { numRuns: 100 },
    );
  });

  it('refuses what JSON.parse refuses, and reads nothing else than it does', () => {
    const change = fc.record({
      at: fc.nat(),
      put: fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom(...',:[]{}"\\0n'.split(''))),
      cut: fc.nat(2),
    });
    let refused = 0;
    fc.assert(
      fc.property(values, times, change, (list, count, { at, put, cut }) => {
        const text = JSON.stringify(longOf(list, count));
        const from = at % (text.length + 1);
        const changed = text.slice(0, from) + put + text.slice(from + cut);
        const found = readBy(() => finish(parseJson(changed)));
        if (found === undefined) refused += 1;
        else expect(readBy(() => JSON.parse(changed) as unknown)).toEqual(found);
      }),
      { numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(15);
  });

  it('takes many steps for a long text', () => {
    const text = JSON.stringify(longOf(['a', '\\"', {}], 2500));
    const steps = parseJson(text);
    let count = 0;
    while (steps.next().done !== true) count += 1;
    expect(count).toBeGreaterThan(text.length / 50_000);
  });

  it('refuses brackets without end', () => {
    expect(readBy(() => finish(parseJson('['.repeat(100_000))))).toBeUndefined();
  });
});
