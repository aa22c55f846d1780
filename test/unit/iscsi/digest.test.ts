/** Digests against the examples of RFC 7143 appendix A.4 (bytes as they travel). */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { addToDigest, digestBytes, readDigest, writeDigest } from '../../../src/iscsi/digest.ts';

function onWire(data: Uint8Array): string {
  const bytes = new Uint8Array(digestBytes);
  writeDigest(viewOf(bytes), 0, addToDigest(0, data));
  return Buffer.from(bytes).toString('hex');
}

const ramp = Uint8Array.from({ length: 32 }, (_, index) => index);
const readCommand = Buffer.from(
  '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' +
    '0200000000000000',
  'hex',
);

describe('digests', () => {
  it('travel as the standard prints them', () => {
    expect(onWire(new Uint8Array(32))).toBe('aa36918a');
    expect(onWire(new Uint8Array(32).fill(0xff))).toBe('43aba862');
    expect(onWire(ramp)).toBe('4e79dd46');
    expect(onWire(ramp.toReversed())).toBe('5cdb3f11');
    expect(readCommand).toHaveLength(48);
    expect(onWire(readCommand)).toBe('563a96d9');
  });

  it('are read back as they were written', () => {
    const bytes = Uint8Array.of(0xee, 0xaa, 0x36, 0x91, 0x8a);
    expect(readDigest(viewOf(bytes), 1)).toBe(addToDigest(0, new Uint8Array(32)));
  });

  it('of data in pieces, padding apart, are those of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 99 }), fc.nat(99), (data, cut) => {
        const padding = -data.length & 3;
        const whole = addToDigest(0, Uint8Array.from([...data, ...new Uint8Array(padding)]));
        const first = addToDigest(0, data.subarray(0, cut));
        const all = addToDigest(first, data.subarray(cut));
        expect(addToDigest(all, new Uint8Array(padding))).toBe(whole);
      }),
    );
  });
});
