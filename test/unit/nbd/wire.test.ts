/** Layouts and codecs: sizes, golden bytes, round trips. */
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { ExtentState } from '../../../src/device/block-device.ts';
import {
  allocationRuns,
  blockStatusReplyBytes,
  contextsFitting,
  coveredBytes,
  encodeBlockStatus,
} from '../../../src/nbd/block-status.ts';
import { decodeClientFlags, encodeGreeting } from '../../../src/nbd/wire/greeting.ts';
import {
  decodeInfoRequest,
  encodeBlockSizeInfo,
  encodeExportInfo,
  encodeExportNameReply,
  encodeTextInfo,
} from '../../../src/nbd/wire/info.ts';
import { decodeMetaRequest, encodeMetaContext } from '../../../src/nbd/wire/meta-context.ts';
import {
  decodeOptionHeader,
  encodeOptionError,
  encodeServerReply,
} from '../../../src/nbd/wire/option.ts';
import {
  encodeBlockStatusHeader,
  encodeErrorChunk,
  encodeNone,
  encodeOffsetDataHeader,
  encodeOffsetHole,
  encodeSimpleReply,
} from '../../../src/nbd/wire/reply.ts';
import { request } from '../../../src/nbd/wire/request.ts';
import { decodeText, encodeText } from '../../../src/nbd/wire/text.ts';
import { infoData, metaData, optionBytes, requestBytes } from '../../support/nbd-client.ts';

const decode = (flags: number): unknown => decodeClientFlags(Uint8Array.of(0, 0, 0, flags));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const encoded = (encode: (view: DataView, at: number) => number): string => {
  // Written at 3 into noise: an encoder writes all of its bytes and no other.
  const bytes = new Uint8Array(8192).fill(0xee);
  const end = encode(viewOf(bytes), 3);
  expect(hex(bytes.subarray(0, 3))).toBe('eeeeee');
  return hex(bytes.subarray(3, end));
};

describe('handshake', () => {
  it('the greeting is what other servers send', () => {
    expect(hex(encodeGreeting())).toBe('4e42444d4147494349484156454f50540003');
  });

  it('client flags: known ones decode, others do not', () => {
    expect(decode(0)).toEqual({ isFixedNewstyle: false, wantsNoZeroes: false });
    expect(decode(3)).toEqual({ isFixedNewstyle: true, wantsNoZeroes: true });
    expect(decode(4)).toBeUndefined();
  });

  it('an option header decodes, one without magic does not', () => {
    expect(decodeOptionHeader(optionBytes(7, Buffer.alloc(5)))).toEqual({ option: 7, length: 5 });
    expect(decodeOptionHeader(new Uint8Array(16))).toBeUndefined();
  });

  it('option replies', () => {
    expect(hex(encodeOptionError(5, 0x80000001, 'no'))).toBe(
      '0003e889045565a90000000580000001000000026e6f',
    );
    expect(hex(encodeServerReply('a', 'b'))).toBe(
      '0003e889045565a9000000030000000200000006000000016162',
    );
  });

  it('INFO requests: what was asked, whatever else is asked', () => {
    expect(decodeInfoRequest(infoData('é', [3, 1]))).toEqual({ name: 'é', wantsName: true });
    expect(decodeInfoRequest(infoData('', []))).toEqual({ name: '', wantsName: false });
    expect(decodeInfoRequest(infoData('x', [1]).subarray(1))).toBeUndefined();
  });

  it('INFO items', () => {
    expect(hex(encodeExportInfo(2 ** 40, 0x8d))).toBe('00000000010000000000008d');
    const sizes = { minimum: 1, preferred: 4096, maximum: 33_554_432 };
    expect(hex(encodeBlockSizeInfo(sizes))).toBe('0003000000010000100002000000');
    expect(hex(encodeTextInfo(2, 'hi'))).toBe('00026869');
    expect(hex(encodeExportNameReply(512, 1, false))).toBe('00000000000002000001');
    expect(encodeExportNameReply(512, 1, true)).toHaveLength(134);
  });

  it('meta context requests and replies', () => {
    const asked = { name: 'disk', queries: ['base:', 'x:y'] };
    expect(decodeMetaRequest(metaData(asked.name, asked.queries))).toEqual(asked);
    expect(decodeMetaRequest(new Uint8Array(7))).toBe('malformed');
    expect(hex(encodeMetaContext(1, 'a:b'))).toBe('00000001613a62');
  });

  it('texts: UTF-8 both ways, cut at 4096 bytes between characters', () => {
    expect(decodeText(encodeText('snäp ✓'))).toBe('snäp ✓');
    expect(decodeText(Uint8Array.of(0xc3))).toBeUndefined();
    expect(decodeText(Uint8Array.of(65, 0))).toBeUndefined();
    expect(encodeText('✓'.repeat(2000))).toHaveLength(4095);
  });
});

describe('transmission', () => {
  const to = { cookieHigh: 0x01020304, cookieLow: 0x05060708 };
  it('a request decodes by its table', () => {
    const bytes = requestBytes({
      command: 6,
      flags: 0x12,
      cookie: 0x0102030405060708n,
      offset: 2 ** 45 + 5,
      length: 0xfffffff0,
    });
    const view = viewOf(bytes);
    expect(Object.values(request).map((field) => field.get(view, 0))).toEqual([
      0x25609513,
      0x12,
      6,
      to.cookieHigh,
      to.cookieLow,
      2 ** 45 + 5,
      0xfffffff0,
    ]);
  });

  it('a simple reply', () => {
    expect(encoded((view, at) => encodeSimpleReply(view, at, to, 22))).toBe(
      '67446698000000160102030405060708',
    );
  });

  it('chunks', () => {
    const cookie = '0102030405060708';
    expect(encoded((view, at) => encodeNone(view, at, to))).toBe(
      `668e33ef00010000${cookie}00000000`,
    );
    const data = { flags: 1, offset: 4096, dataBytes: 512 };
    expect(encoded((view, at) => encodeOffsetDataHeader(view, at, to, data))).toBe(
      `668e33ef00010001${cookie}000002080000000000001000`,
    );
    const hole = { flags: 0, offset: 2 ** 33, holeBytes: 65_536 };
    expect(encoded((view, at) => encodeOffsetHole(view, at, to, hole))).toBe(
      `668e33ef00000002${cookie}0000000c000000020000000000010000`,
    );
    const status = { contextId: 1, extentCount: 2, isLast: true };
    expect(encoded((view, at) => encodeBlockStatusHeader(view, at, to, status))).toBe(
      `668e33ef00010005${cookie}0000001400000001`,
    );
  });

  it('block status of two contexts: only the last chunk is the final one', () => {
    const runs = [{ length: 4096, status: 1 }];
    const what = { contextId: 2, runs, length: 4096, isLast: false };
    expect(encoded((view, at) => encodeBlockStatus(view, at, to, what))).toBe(
      '668e33ef0000000501020304050607080000000c000000020000100000000001',
    );
    const contexts = [
      { contextId: 1, runs: [{ length: 8192, status: 0 }] },
      { contextId: 2, runs: [...runs, { length: 1024, status: 0 }] },
    ];
    expect(coveredBytes(contexts)).toBe(5120);
    expect(contextsFitting(contexts, blockStatusReplyBytes(contexts))).toEqual(contexts);
    const fewer = contextsFitting(contexts, blockStatusReplyBytes(contexts) - 1);
    expect(fewer.map((each) => each.runs.length)).toEqual([1, 1]);
    expect(coveredBytes(fewer)).toBe(4096);
  });

  it('block status: clipped to the request, neighbours of one state merged', () => {
    const extents = [
      { length: 4096, state: ExtentState.hole },
      { length: 0, state: ExtentState.data },
      { length: 4096, state: ExtentState.hole },
      { length: 8192, state: ExtentState.data },
      { length: 8192, state: ExtentState.zero },
    ];
    const what = { contextId: 1, runs: allocationRuns(extents), length: 10_000, isLast: true };
    expect(encoded((view, at) => encodeBlockStatus(view, at, to, what))).toBe(
      '668e33ef000100050102030405060708000000140000000100002000000000030000071000000000',
    );
  });

  it('error chunks, with and without a place', () => {
    const cookie = '0102030405060708';
    const plain = { error: 5, message: 'bad' };
    expect(encoded((view, at) => encodeErrorChunk(view, at, to, plain))).toMatch(
      new RegExp(`^668e33ef00018001${cookie}00000009000000050003626164$`),
    );
    const placed = { error: 5, message: 'bad', offset: 4096 };
    expect(encoded((view, at) => encodeErrorChunk(view, at, to, placed))).toBe(
      `668e33ef00018002${cookie}000000110000000500036261640000000000001000`,
    );
  });
});
