/** A list of pins does what a sorted array of objects does. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PinList, type PinState } from '../../../../src/volume/catalogue/pin-list.ts';
import { FormatError } from '../../../../src/volume/format/format-error.ts';

const steps = fc.array(
  fc.record({ kind: fc.nat(5), cut: fc.integer({ min: 1, max: 60 }), timeMs: fc.nat(60) }),
  { maxLength: 80 },
);

/** What a list of these pins answers about a cut or time. */
function answers(model: readonly PinState[], value: number): unknown {
  return {
    index: model.findIndex(({ cut }) => cut === value),
    upTo: model.filter(({ cut }) => cut <= value).length,
    older: model.filter(({ timeMs }) => timeMs < value).length,
    before: model.findLast(({ cut }) => cut < value),
    behind: model.find(({ cut }) => cut > value),
    ofTime: model.findLast(({ timeMs }) => timeMs === value),
    at: model[value],
  };
}

function answersOf(list: PinList, value: number): unknown {
  return {
    index: list.indexOf(value),
    upTo: list.countUpTo(value),
    older: list.countBefore(value),
    before: list.before(value),
    behind: list.behind(value),
    ofTime: list.ofTime(value),
    at: list.at(value),
  };
}

/** Whether the model has room for the pin in order; it is put there. */
function put(model: PinState[], pin: PinState): boolean {
  const at = model.filter(({ cut }) => cut < pin.cut).length;
  const [before, after] = [model[at - 1], model[at]];
  if (after?.cut === pin.cut) return false;
  if ((before?.timeMs ?? 0) > pin.timeMs || (after?.timeMs ?? 60) < pin.timeMs) return false;
  model.splice(at, 0, pin);
  return true;
}

describe('list of pins', () => {
  it('answers like an array of them, after any changes', () => {
    fc.assert(
      fc.property(steps, fc.nat(4), (list, capacity) => {
        const pins = new PinList(capacity);
        let model: PinState[] = [];
        for (const { kind, cut, timeMs } of list) {
          if (kind === 0) {
            expect(pins.remove(cut)).toBe(model.some((pin) => pin.cut === cut));
            model = model.filter((pin) => pin.cut !== cut);
          } else if (kind === 1) {
            const gone = [cut, cut + 1, cut + 7];
            pins.removeAll(gone);
            model = model.filter((pin) => !gone.includes(pin.cut));
          } else if (put(model, { cut, timeMs })) pins.add({ cut, timeMs });
          else expect(() => pins.add({ cut, timeMs })).toThrow(FormatError);
        }
        expect([...pins]).toEqual(model);
        expect(pins.length).toBe(model.length);
        expect(pins.last()).toEqual(model.at(-1));
        expect([...pins.cuts(1, 5)]).toEqual(model.slice(1, 5).map(({ cut }) => cut));
        for (let value = 0; value <= 61; value += 1) {
          expect(answersOf(pins, value)).toEqual(answers(model, value));
        }
      }),
      { numRuns: 500 },
    );
  });
});
