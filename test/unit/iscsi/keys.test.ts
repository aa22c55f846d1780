/** Text of login and text PDUs, RFC 7143 section 6.1. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  encodeText,
  formatBinary,
  parseBinary,
  parseBoolean,
  parseNumber,
  parseText,
  TextCollector,
  type TextPair,
  TextSender,
} from '../../../src/iscsi/keys.ts';
import { textKeysMax, textMaxBytes } from '../../../src/iscsi/limits.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const hex = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString('hex');

const keys = (count: number): Uint8Array =>
  bytes(Array.from({ length: count }, (_, index) => `K${index}=\0`).join(''));

describe('parseText', () => {
  it('takes pairs apart at NUL and the first =', () => {
    expect(parseText(bytes('A=1\0CHAP_N=a=b=\0X#x=\0iSCSIProtocolLevel=2\0'))).toEqual([
      { key: 'A', value: '1' },
      { key: 'CHAP_N', value: 'a=b=' },
      { key: 'X#x', value: '' },
      { key: 'iSCSIProtocolLevel', value: '2' },
    ]);
    expect(parseText(new Uint8Array(0))).toEqual([]);
  });

  it('skips NULs in excess and takes a last pair without one', () => {
    const expected = [
      { key: 'A', value: '1' },
      { key: 'B', value: '2' },
    ];
    expect(parseText(bytes('A=1\0\0\0B=2\0\0'))).toEqual(expected);
    expect(parseText(bytes('A=1\0B=2'))).toEqual(expected);
  });

  it('takes a key name of 63 bytes and refuses one of 64', () => {
    expect(parseText(bytes(`${'K'.repeat(63)}=v\0`))).toHaveLength(1);
    expect(parseText(bytes(`${'K'.repeat(64)}=v\0`))).toEqual({ problem: 'key name too long' });
  });

  it('takes a value of 255 bytes and refuses one of 256, but for large binaries', () => {
    expect(parseText(bytes(`Key=${'v'.repeat(255)}\0`))).toHaveLength(1);
    expect(parseText(bytes(`Key=${'v'.repeat(256)}\0`))).toEqual({
      problem: 'value of Key too long',
    });
    expect(parseText(bytes(`CHAP_R=0x${'0'.repeat(2048)}\0`))).toHaveLength(1);
    expect(parseText(bytes(`CHAP_R=0x${'0'.repeat(2049)}\0`))).toEqual({
      problem: 'value of CHAP_R too long',
    });
  });

  it('refuses what is no pair, no name, no UTF-8', () => {
    expect(parseText(bytes('nothing\0'))).toEqual({ problem: 'text without =' });
    expect(parseText(bytes('=v\0'))).toEqual({ problem: 'invalid key name' });
    expect(parseText(bytes('K y=v\0'))).toEqual({ problem: 'invalid key name' });
    expect(parseText(bytes('9K=v\0'))).toEqual({ problem: 'invalid key name' });
    expect(parseText(Uint8Array.of(0x4b, 0x3d, 0xff, 0))).toEqual({
      problem: 'value of K is not UTF-8',
    });
  });

  it('takes as many keys as the limit says, and not one more', () => {
    expect(parseText(keys(textKeysMax))).toHaveLength(textKeysMax);
    expect(parseText(keys(textKeysMax + 1))).toEqual({ problem: 'too many keys' });
  });
});

const pairs = fc.array(
  fc.record({
    key: fc.stringMatching(/^[A-Z][A-Za-z0-9]{0,20}$/),
    value: fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0')),
  }),
  { maxLength: 20 },
);

describe('texts in pieces', () => {
  it('come out as they went in, wherever they were cut', () => {
    fc.assert(
      fc.property(pairs, fc.integer({ min: 1, max: 40 }), (sent, pieceBytes) => {
        const sender = new TextSender();
        sender.put(sent.slice(0, 3));
        sender.put(sent.slice(3));
        const collector = new TextCollector();
        let received: unknown;
        do {
          const piece = sender.take(pieceBytes);
          expect(piece.length).toBeLessThanOrEqual(pieceBytes);
          expect(received).toBeUndefined();
          // A Buffer, as sockets deliver: its slice() would be no copy.
          const inFlight = Buffer.from(piece);
          received = collector.add(inFlight, sender.isOpen);
          inFlight.fill(0);
        } while (sender.isOpen);
        expect(received).toEqual(sent);
        expect(collector.isOpen).toBe(false);
      }),
    );
  });

  it('an empty piece opens a text, too', () => {
    const collector = new TextCollector();
    expect(collector.add(new Uint8Array(0), true)).toBeUndefined();
    expect(collector.isOpen).toBe(true);
    expect(collector.add(bytes('A=1\0'), false)).toEqual([{ key: 'A', value: '1' }]);
  });

  it('hold 64 KiB together and not a byte more', () => {
    const half = new Uint8Array(textMaxBytes / 2);
    const collector = new TextCollector();
    expect(collector.add(half, true)).toBeUndefined();
    expect(collector.add(half, true)).toBeUndefined();
    expect(collector.add(Uint8Array.of(0), false)).toEqual({ problem: 'text too long' });
    collector.reset();
    expect(collector.add(half, true)).toBeUndefined();
    expect(collector.add(half, false)).toEqual([]);
  });

  it('encode with a NUL behind every pair', () => {
    const answer: TextPair[] = [
      { key: 'A', value: 'é' },
      { key: 'B', value: '' },
    ];
    expect(Buffer.from(encodeText(answer)).toString()).toBe('A=é\0B=\0');
  });
});

describe('values', () => {
  it('numbers are decimal or hex, and nothing else', () => {
    expect(parseNumber('0')).toBe(0);
    expect(parseNumber('262144')).toBe(262_144);
    expect(parseNumber('0x40000')).toBe(262_144);
    expect(parseNumber('0XfF')).toBe(255);
    for (const wrong of ['', '-1', '1.5', '1e3', '0x', ' 1', '1 ', '0b11', 'Yes', '9'.repeat(16)]) {
      expect(parseNumber(wrong), wrong).toBeUndefined();
    }
  });

  it('booleans are Yes and No, in this case only', () => {
    expect(parseBoolean('Yes')).toBe(true);
    expect(parseBoolean('No')).toBe(false);
    for (const wrong of ['yes', 'NO', 'true', '1', '']) expect(parseBoolean(wrong)).toBeUndefined();
  });

  it('binaries are hex or base64', () => {
    expect(hex(parseBinary('0x00fF', 2))).toBe('00ff');
    expect(hex(parseBinary('0XAB', 2))).toBe('ab');
    expect(hex(parseBinary('0bAP8=', 2))).toBe('00ff');
    expect(hex(parseBinary('0BAP8A', 3))).toBe('00ff00');
    const wrongs = [
      '',
      '0x',
      '0b',
      '0xf',
      '0xzz',
      'ff',
      '0bA',
      '0bAP8',
      '0b====',
      '0bAP8=A',
      '0b-_8=',
      '0x00ff\n',
    ];
    for (const wrong of wrongs) expect(parseBinary(wrong, 99), wrong).toBeUndefined();
  });

  it('a binary of the largest size is taken, one byte more is refused, in both forms', () => {
    const five = Buffer.alloc(5, 1);
    expect(parseBinary(`0x${five.toString('hex')}`, 5)).toHaveLength(5);
    expect(parseBinary(`0x${five.toString('hex')}`, 4)).toBeUndefined();
    expect(parseBinary(`0b${five.toString('base64')}`, 5)).toHaveLength(5);
    expect(parseBinary(`0b${five.toString('base64')}`, 4)).toBeUndefined();
  });

  it('what is formatted is parsed back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (value) => {
        expect(parseBinary(formatBinary(value), 64)).toEqual(value);
        const base64 = `0b${Buffer.from(value).toString('base64')}`;
        expect(parseBinary(base64, 64)).toEqual(value);
      }),
    );
  });
});
