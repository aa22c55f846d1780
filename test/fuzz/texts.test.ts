/** Texts that people and other programs write: each is understood as what it says, or not at all. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatCdpPolicy,
  formatCdpWindow,
  isCdpPolicy,
  parseCdpPolicy,
  parseCdpWindow,
} from '../../src/base/cdp-policy.ts';
import { formatMomentTime, isFixedMoment, parseMoment } from '../../src/base/moment.ts';
import { formatSize, parseSize } from '../../src/base/units.ts';
import { parseObject } from '../../src/engine/rpc.ts';
import { runs } from './hostile-bytes.ts';

/** Anything, and things that are almost what is asked for. */
function nearly(...parts: readonly string[]): fc.Arbitrary<string> {
  const part = fc.oneof(
    fc.constantFrom(...parts),
    fc.nat(1e6).map(String),
    fc.string({ maxLength: 3 }),
  );
  return fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(part, { maxLength: 12 }).map((list) => list.join('')),
  );
}

describe('reader of sizes', () => {
  it('answers any text with whole bytes or nothing', () => {
    fc.assert(
      fc.property(nearly('K', 'GiB', '.', ' ', '-', 'e9', '99999999999'), (text) => {
        const size = parseSize(text);
        if (size === undefined) return;
        expect(Number.isSafeInteger(size) && size >= 0).toBe(true);
        expect(formatSize(size)).toMatch(/^\d+(\.\d)? \w+$/);
      }),
      runs,
    );
  });
});

describe('reader of windows', () => {
  it('answers any text with a policy that says the same when it is written, or nothing', () => {
    const text = nearly('all:', 'unlimited', '1h', ',', ':', '/', '5m', '10G', '0', '1d');
    fc.assert(
      fc.property(text, (each) => {
        const policy = parseCdpPolicy(each);
        if (policy !== undefined) {
          expect(isCdpPolicy(policy)).toBe(true);
          expect(parseCdpPolicy(formatCdpPolicy(policy))).toEqual(policy);
        }
        const window = parseCdpWindow(each);
        if (window !== undefined) expect(parseCdpWindow(formatCdpWindow(window))).toEqual(window);
      }),
      runs,
    );
  });
});

describe('reader of moments', () => {
  it('answers any text with a moment or nothing', () => {
    const text = nearly(
      'now',
      '-',
      '15m',
      'snapshot:',
      'position:',
      '2026-11-22T14:03:07',
      '.5',
      'Z',
    );
    fc.assert(
      fc.property(text, (each) => {
        const moment = parseMoment(each);
        isFixedMoment(each);
        if (moment?.kind === 'time') expect(formatMomentTime(moment.timeMs)).toMatch(/^-?\+?\d{4}/);
        if (moment?.kind === 'position') expect(Number.isSafeInteger(moment.position)).toBe(true);
      }),
      runs,
    );
  });
});

describe('reader of lines of the control socket', () => {
  it('answers any line with an object or nothing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string({ unit: 'binary' })), (line) => {
        const object = parseObject(line);
        if (object === undefined) return;
        expect(typeof object).toBe('object');
        expect(Array.isArray(object)).toBe(false);
      }),
      runs,
    );
  });
});
