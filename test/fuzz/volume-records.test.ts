/** Fuzz of the decoders of catalogue records: whatever the bytes, a record or FormatError. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultCdpText, parseCdpPolicy, unlimitedCdp } from '../../src/base/cdp-policy.ts';
import { decodeRecord, encodeRecord } from '../../src/volume/catalogue/records.ts';
import {
  HorizonReason,
  retentionEntriesMax,
} from '../../src/volume/catalogue/retention-records.ts';
import { RecordType } from '../../src/volume/format/frame.ts';
import { TlvReader, TlvWriter } from '../../src/volume/format/tlv.ts';
import { limits } from '../../src/volume/limits.ts';
import { changed, changes, runs, tolerated } from './hostile-bytes.ts';

const poolUuid = Uint8Array.from({ length: 16 }, (_, index) => index * 7 + 1);
const epoch = 3;

/** What the decoder makes of a resize to `sizeBytes`; undefined when it refuses. */
function decodeSize(sizeBytes: number): unknown {
  const entry = encodeRecord({ kind: 'vol-resize', line: 1, uuid: poolUuid, sizeBytes });
  return tolerated(() => decodeRecord(entry.type, 1, entry.payload));
}

describe('state record decoder', () => {
  it('gives back any state, and refuses or reads any change of its record', () => {
    const bytes = fc.uint8Array({ minLength: 0, maxLength: 3000 });
    fc.assert(
      fc.property(bytes, fc.nat(2 ** 32 - 1), (state, line) => {
        const record = { kind: 'lu-state' as const, line, uuid: poolUuid, state };
        const { type, payload } = encodeRecord(record);
        expect(decodeRecord(type, line, payload)).toEqual(record);
      }),
      { numRuns: 200 },
    );
    const record = { kind: 'lu-state' as const, line: 1, uuid: poolUuid, state: poolUuid };
    const original = encodeRecord(record);
    fc.assert(
      fc.property(changes(original.payload.length), (list) => {
        tolerated(() => decodeRecord(original.type, 1, changed(original.payload, list)));
      }),
      runs,
    );
  });
});

describe('catalogue record decoder', () => {
  const types = fc.constantFrom(...Object.values(RecordType));
  /** Items with the tags that records use and values of the lengths that they expect, or nearly. */
  const item = fc.record({
    tag: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 0xffff })),
    value: fc.oneof(
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 0, maxLength: 40 }),
    ),
  });
  const payload = fc.array(item, { maxLength: 14 }).map((items) => {
    const writer = new TlvWriter();
    for (const { tag, value } of items) writer.bytes(tag, value);
    return writer.finish();
  });

  it('answers any fields of any record type with a record or FormatError', () => {
    fc.assert(
      fc.property(types, fc.nat(), payload, (type, line, input) => {
        tolerated(() => decodeRecord(type, line, input));
      }),
      { numRuns: 4000 },
    );
  });

  it('gives back any snapshot of a past moment, and refuses one that lacks a part of it', () => {
    const moments = fc.record({
      cut: fc.maxSafeNat(),
      sizeBytes: fc.integer({ min: 1, max: 2 ** 30 }).map((blocks) => blocks * 4096),
      ticks: fc.maxSafeNat(),
      label: fc.string({ maxLength: 60 }),
    });
    const ids = { volumeUuid: poolUuid, uuid: poolUuid, name: 's', createdMs: 5 };
    fc.assert(
      fc.property(moments, fc.nat(2 ** 32 - 1), (past, line) => {
        const record = { kind: 'snap' as const, line, ...ids, past };
        const { type, payload: bytes } = encodeRecord(record);
        expect(decodeRecord(type, line, bytes)).toEqual(record);
      }),
      { numRuns: 300 },
    );
    const lacking = new TlvWriter().bytes(1, poolUuid).bytes(16, poolUuid).text(2, 's');
    const input = lacking.number(7, 5).number(18, 9).finish();
    expect(tolerated(() => decodeRecord(RecordType.snap, 1, input))).toBeUndefined();
  });

  it('gives back any lock of a snapshot, and refuses one without a time', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(2 ** 32 - 1), (lockedUntilMs, line) => {
        const record = { kind: 'snap-set' as const, line, uuid: poolUuid, lockedUntilMs };
        const { type, payload: bytes } = encodeRecord(record);
        expect(decodeRecord(type, line, bytes)).toEqual(record);
      }),
      { numRuns: 300 },
    );
    const input = new TlvWriter().bytes(16, poolUuid).finish();
    expect(tolerated(() => decodeRecord(RecordType.snapSet, 1, input))).toBeUndefined();
  });

  it('refuses sizes that no map could hold', () => {
    expect(decodeSize(limits.volumeSizeBytesMax)).toBeDefined();
    for (const sizeBytes of [0, 4095, limits.volumeSizeBytesMax + 4096, 2 ** 52]) {
      expect(decodeSize(sizeBytes)).toBeUndefined();
    }
  });

  it('survives changed payloads of real records', () => {
    const record = {
      kind: 'epoch' as const,
      epoch,
      nodeUuid: poolUuid,
      openId: poolUuid,
      startPosition: 9,
    };
    const original = encodeRecord(record).payload;
    fc.assert(
      fc.property(changes(original.length), types, (list, type) => {
        tolerated(() => decodeRecord(type, 1, changed(original, list)));
      }),
      runs,
    );
  });
});

describe('decoders of policies, pins and horizons', () => {
  const line = fc.nat(2 ** 32 - 1);
  const position = fc.maxSafeNat();
  const pins = fc.record({ timeMs: position, lines: fc.array(line, { maxLength: 100 }) });
  const unpins = fc.array(fc.record({ line, cut: position }), { maxLength: 100 });
  const reason = fc.constantFrom(...Object.values(HorizonReason));
  const moves = fc.array(fc.record({ line, position, timeMs: position, reason }), {
    maxLength: 100,
  });
  const records = fc.oneof(
    pins.map((pin) => ({ kind: 'pin' as const, ...pin })),
    fc
      .array(fc.record({ line, cut: position, timeMs: position }), { maxLength: 100 })
      .map((past) => ({ kind: 'pin' as const, timeMs: 1, lines: [], past })),
    unpins.map((list) => ({ kind: 'unpin' as const, pins: list })),
    moves.map((list) => ({ kind: 'horizon' as const, moves: list })),
    fc
      .record(
        {
          policy: fc
            .constantFrom('all:0', 'all:unlimited', 'all:1h/3G', defaultCdpText)
            .map((text) => parseCdpPolicy(text) ?? unlimitedCdp),
          isGuaranteed: fc.boolean(),
        },
        { requiredKeys: [] },
      )
      .map((cdp) => ({ kind: 'vol-set' as const, line: 1, uuid: poolUuid, ...cdp })),
  );

  it('give back any record', () => {
    fc.assert(
      fc.property(records, (record) => {
        const { type, line: about, payload } = encodeRecord(record);
        expect(decodeRecord(type, about, payload)).toEqual(record);
      }),
      { numRuns: 500 },
    );
  });

  it('take the longest lists that are written', () => {
    const lines = Array.from({ length: retentionEntriesMax }, (_, index) => index);
    const list = lines.map((id) => ({ line: id, position: id, timeMs: id, reason: 0 as const }));
    for (const record of [
      { kind: 'horizon' as const, moves: list },
      { kind: 'unpin' as const, pins: lines.map((id) => ({ line: id, cut: id })) },
      { kind: 'pin' as const, timeMs: 1, lines },
    ]) {
      const { type, payload } = encodeRecord(record);
      expect(decodeRecord(type, 0, payload)).toEqual(record);
    }
  });

  it('answer any change of a record with a record or FormatError', () => {
    const seeds = fc.sample(records, { numRuns: 40, seed: 7 }).map(encodeRecord);
    for (const { type, payload } of seeds) {
      fc.assert(
        fc.property(changes(payload.length), (list) => {
          tolerated(() => decodeRecord(type, 1, changed(payload, list)));
        }),
        { numRuns: 100 },
      );
    }
  });
});

describe('catalogue payload (TLV) decoder', () => {
  const known = [1, 2, 3];

  it('answers any bytes with fields or FormatError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), (input) => {
        tolerated(() => {
          const reader = new TlvReader(input, 'fuzzed', known);
          for (const tag of known) if (reader.has(tag)) reader.text(tag);
          return reader.number(1);
        });
      }),
      runs,
    );
  });

  it('gives back what was written, whatever it was', () => {
    const value = fc.uint8Array({ minLength: 0, maxLength: 2000 });
    const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
    fc.assert(
      fc.property(number, fc.string(), value, (amount, text, bytes) => {
        const payload = new TlvWriter().number(1, amount).text(2, text).bytes(3, bytes).finish();
        const reader = new TlvReader(payload, 'round trip', known);
        expect(reader.number(1)).toBe(amount);
        expect(reader.text(2)).toBe(text.toWellFormed());
        expect(reader.bytes(3)).toEqual(bytes);
      }),
      runs,
    );
  });

  it('survives changed and cut payloads', () => {
    const payload = new TlvWriter().number(1, 7).text(2, 'a name').bytes(3, poolUuid).finish();
    fc.assert(
      fc.property(changes(payload.length), fc.nat(payload.length), (list, length) => {
        tolerated(() => {
          const reader = new TlvReader(changed(payload, list).subarray(0, length), 'cut', known);
          return reader.number(1) + reader.text(2).length + reader.bytes(3).length;
        });
      }),
      runs,
    );
  });
});
