/** Fuzz of the reader of checkpoints: whatever the text, a catalogue or FormatError. */
import * as fc from 'fast-check';
import { describe, it } from 'vitest';
import { catalogueText } from '../../src/volume/catalogue/catalogue-text.ts';
import { parseCatalogue } from '../../src/volume/catalogue/checkpoint.ts';
import { diceRolls, randomCatalogue } from '../support/random-catalogue.ts';
import { tolerated } from './hostile-bytes.ts';

describe('reader of checkpoints', () => {
  it('answers any JSON with a catalogue or FormatError', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        tolerated(() => parseCatalogue(text, 1));
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
        tolerated(() => parseCatalogue(text, 1));
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
        tolerated(() => parseCatalogue(JSON.stringify(changed), 1));
      }),
      { numRuns: 2000 },
    );
  });
});
