/** TransportIDs, parameter lists of PERSISTENT RESERVE, and what LU_STATE keeps of a reservation. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { decodeLuState, encodeLuState, LuStatePart } from '../../../src/scsi/lu-state.ts';
import { decodePrState, encodePrState } from '../../../src/scsi/persistent-codec.ts';
import { PrOutAction } from '../../../src/scsi/persistent-commands.ts';
import {
  decodePrOut,
  encodeCapabilities,
  encodeFullStatus,
  encodeKeys,
  encodeReservation,
  type PrOutContext,
} from '../../../src/scsi/persistent-parameters.ts';
import {
  emptyPrState,
  isAllRegistrants,
  nexusText,
  type PrState,
  PrType,
} from '../../../src/scsi/persistent-state.ts';
import {
  decodeTransportId,
  encodeTransportId,
  type InitiatorPort,
  transportIdBytes,
} from '../../../src/scsi/transport-id.ts';

const names = [
  'iqn.1998-01.com.vmware:esx1-5b3c',
  'eui.02004567a425678d',
  'iqn.2026-11.test:größe',
];
const anyPort: fc.Arbitrary<InitiatorPort> = fc.record({
  initiatorName: fc.constantFrom(...names),
  isid: fc.constantFrom('', '00023d000001', 'ffffffffffff'),
});

function transportId(port: InitiatorPort): Uint8Array {
  const bytes = new Uint8Array(transportIdBytes(port));
  encodeTransportId(viewOf(bytes), 0, port);
  return bytes;
}

describe('TransportID', () => {
  it('of an initiator port is format 01b, name, separator and ISID, NUL, padded to four', () => {
    const bytes = transportId({ initiatorName: 'iqn.2026-11.test:host', isid: '00023d000001' });
    const text = 'iqn.2026-11.test:host,i,0x00023d000001';
    expect([...bytes.subarray(0, 4)]).toEqual([0x45, 0, 0, 40]);
    expect(Buffer.from(bytes.subarray(4)).toString('latin1')).toBe(`${text}\0\0`);
  });

  it('of a short name has at least 20 bytes behind its header', () => {
    const bytes = transportId({ initiatorName: 'iqn.a', isid: '' });
    expect([...bytes.subarray(0, 4)]).toEqual([0x05, 0, 0, 20]);
    expect(bytes).toHaveLength(24);
  });

  it('is read back as it was written', () => {
    fc.assert(
      fc.property(anyPort, (port) => {
        const bytes = transportId(port);
        const decoded = decodeTransportId(viewOf(bytes), 0, bytes.length);
        expect(decoded).toEqual({ port, sizeBytes: bytes.length });
      }),
    );
  });

  const good = { initiatorName: 'iqn.2026-11.test:host', isid: '00023d000001' };
  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ['another protocol', (bytes) => bytes.with(0, 0x46)],
    ['another format', (bytes) => bytes.with(0, 0x85)],
    ['a length that is not a multiple of four', (bytes) => bytes.with(3, 38)],
    ['a length past the end', (bytes) => bytes.with(3, 44)],
    ['no NUL', (bytes) => bytes.fill(0x61, 42)],
    ['a name of no known kind', (bytes) => bytes.with(4, 0x78)],
    ['an ISID that is no number', (bytes) => bytes.with(41, 0x78)],
    ['a byte too few', (bytes) => bytes.subarray(0, -1)],
  ])('with %s is refused', (_what, spoil) => {
    const bytes = spoil(transportId(good));
    expect(decodeTransportId(viewOf(bytes), 0, bytes.length)).toBeUndefined();
  });
});

const context: PrOutContext = {
  action: PrOutAction.register,
  scopeType: PrType.exclusiveAccess,
  senderPort: 2,
  relativePorts: [1, 2, 3],
  ignoresIsid: false,
};

function basicList(flags: number, ids?: Uint8Array): Uint8Array {
  const list = new Uint8Array(ids === undefined ? 24 : 28 + ids.length);
  viewOf(list).setBigUint64(0, 0x0102030405060708n);
  viewOf(list).setBigUint64(8, 0x1112131415161718n);
  list[20] = flags;
  if (ids !== undefined) {
    viewOf(list).setUint32(24, ids.length);
    list.set(ids, 28);
  }
  return list;
}

function problemOf(list: Uint8Array): string | undefined {
  return decodePrOut(list, context).problem;
}

describe('PERSISTENT RESERVE OUT parameter list', () => {
  const ids = transportId({ initiatorName: 'iqn.2026-11.test:host', isid: '00023d000001' });

  it('carries both keys, APTPL and the type of the CDB', () => {
    expect(decodePrOut(basicList(1), context).command).toEqual({
      action: PrOutAction.register,
      type: PrType.exclusiveAccess,
      key: 0x0102030405060708n,
      actionKey: 0x1112131415161718n,
      isPersistent: true,
      ports: undefined,
      relativePorts: [2],
      move: undefined,
    });
  });

  it('with ALL_TG_PT names every target port, when registering only', () => {
    expect(decodePrOut(basicList(4), context).command?.relativePorts).toEqual([1, 2, 3]);
    const reserve = { ...context, action: PrOutAction.reserve };
    expect(decodePrOut(basicList(4), reserve).command?.relativePorts).toEqual([2]);
  });

  it('with SPEC_I_PT names initiator ports', () => {
    expect(decodePrOut(basicList(8, ids), context).command?.ports).toEqual([
      { initiatorName: 'iqn.2026-11.test:host', isid: '00023d000001' },
    ]);
  });

  it('takes names without ISID only where ISIDs do not count', () => {
    const device = transportId({ initiatorName: 'iqn.2026-11.test:host', isid: '' });
    expect(decodePrOut(basicList(8, device), context).problem).toBe('field');
    const lax = { ...context, ignoresIsid: true };
    expect(decodePrOut(basicList(8, device), lax).command?.ports?.[0]?.isid).toBe('');
    expect(decodePrOut(basicList(8, ids), lax).command?.ports?.[0]?.isid).toBe('');
  });

  it('must be as long as it says', () => {
    expect(problemOf(new Uint8Array(25))).toBe('length');
    expect(problemOf(basicList(8))).toBe('length');
    expect(problemOf(basicList(8, ids).subarray(0, -4))).toBe('length');
  });

  it('refuses SPEC_I_PT for other actions, and reserved flags', () => {
    const ignore = { ...context, action: PrOutAction.registerAndIgnore };
    expect(decodePrOut(basicList(8, ids), ignore).problem).toBe('field');
    expect(decodePrOut(basicList(0x10), context).problem).toBe('field');
  });

  it('of REGISTER AND MOVE names where the reservation goes', () => {
    const move = { ...context, action: PrOutAction.registerAndMove };
    const list = new Uint8Array(24 + ids.length);
    list[17] = 3;
    viewOf(list).setUint16(18, 3);
    viewOf(list).setUint32(20, ids.length);
    list.set(ids, 24);
    expect(decodePrOut(list, move).command).toMatchObject({
      isPersistent: true,
      move: { to: { isid: '00023d000001', relativePort: 3 }, unregisters: true },
    });
    expect(decodePrOut(list.with(19, 9), move).problem).toBe('field');
    expect(decodePrOut(list.subarray(0, -4), move).problem).toBe('length');
  });
});

const state: PrState = {
  generation: 0x01020304,
  isPersistent: true,
  registrants: [
    { initiatorName: 'iqn.2026-11.test:a', isid: '00023d000001', relativePort: 1, key: 0xabn },
    { initiatorName: 'iqn.2026-11.test:b', isid: '00023d000002', relativePort: 2, key: 0xcdn },
  ],
  reservation: { type: PrType.writeExclusive, holder: 'iqn.2026-11.test:b,00023d000002,2' },
};

describe('PERSISTENT RESERVE IN data', () => {
  it('of READ KEYS is generation, length, keys', () => {
    expect(Buffer.from(encodeKeys(state)).toString('hex')).toBe(
      '010203040000001000000000000000ab00000000000000cd',
    );
  });

  it('of READ RESERVATION is the holder key and type, or nothing', () => {
    expect(Buffer.from(encodeReservation(state)).toString('hex')).toBe(
      '010203040000001000000000000000cd0000000000010000',
    );
    expect(encodeReservation({ ...state, reservation: undefined })).toHaveLength(8);
    const all = { type: PrType.exclusiveAccessAllRegistrants, holder: '' };
    expect(viewOf(encodeReservation({ ...state, reservation: all })).getBigUint64(8)).toBe(0n);
  });

  it('of REPORT CAPABILITIES has all six types and says whether APTPL is active', () => {
    expect([...encodeCapabilities(state)]).toEqual([0, 8, 0x1d, 0xb1, 0xea, 1, 0, 0]);
    expect(encodeCapabilities(emptyPrState)[3]).toBe(0xb0);
  });

  it('of READ FULL STATUS names who holds', () => {
    const data = encodeFullStatus(state);
    const view = viewOf(data);
    expect(view.getUint32(4)).toBe(data.length - 8);
    expect(data[8 + 12]).toBe(0);
    const second = 8 + 24 + view.getUint32(8 + 20);
    expect(view.getBigUint64(second)).toBe(0xcdn);
    expect([data[second + 12], data[second + 13]]).toEqual([1, PrType.writeExclusive]);
    expect(view.getUint16(second + 18)).toBe(2);
    const id = decodeTransportId(view, second + 24, data.length);
    expect(id?.port).toEqual({ initiatorName: 'iqn.2026-11.test:b', isid: '00023d000002' });
  });
});

const anyState: fc.Arbitrary<PrState> = fc
  .record({
    registrants: fc.uniqueArray(
      fc.record({
        initiatorName: fc.constantFrom(...names),
        isid: fc.constantFrom('', '00023d000001', '00023d000002'),
        relativePort: fc.integer({ min: 1, max: 65535 }),
        key: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
      }),
      { selector: nexusText, minLength: 1, maxLength: 20 },
    ),
    type: fc.option(fc.constantFrom(...Object.values(PrType)), { nil: undefined }),
    holder: fc.nat(),
  })
  .map(({ registrants, type, holder }) => {
    const named = registrants[holder % registrants.length];
    const reservation =
      type === undefined || named === undefined
        ? undefined
        : { type, holder: isAllRegistrants(type) ? '' : nexusText(named) };
    return { generation: 0, isPersistent: true, registrants, reservation };
  });

describe('the kept state', () => {
  it('is read back as it was, with generation zero', () => {
    fc.assert(
      fc.property(anyState, fc.nat(), (given, generation) => {
        expect(decodePrState(encodePrState({ ...given, generation }))).toEqual(given);
      }),
    );
  });

  it('is nothing without APTPL', () => {
    expect(encodePrState({ ...state, isPersistent: false })).toHaveLength(0);
    expect(decodePrState(new Uint8Array(0))).toEqual(emptyPrState);
  });

  it('is refused whole when any byte is missing or there are too many', () => {
    const bytes = encodePrState(state);
    for (let length = 1; length < bytes.length; length += 1) {
      expect(decodePrState(bytes.subarray(0, length))).toBeUndefined();
    }
    expect(decodePrState(new Uint8Array([...bytes, 0]))).toBeUndefined();
    expect(decodePrState(bytes.with(0, 9))).toBeUndefined();
  });
});

describe('LU_STATE', () => {
  const parts = new Map([
    [LuStatePart.modePages, Uint8Array.of(1, 2, 3)],
    [LuStatePart.persistentReservation, encodePrState(state)],
    [77, Uint8Array.of(9)],
  ]);

  it('keeps its parts, those of later versions too', () => {
    expect(decodeLuState(encodeLuState(parts))).toEqual(parts);
    expect(decodeLuState(encodeLuState(new Map()))).toEqual(new Map());
  });

  it('is refused when a single bit is wrong', () => {
    const bytes = encodeLuState(parts);
    for (let at = 0; at < bytes.length; at += 1) {
      for (let bit = 1; bit < 256; bit *= 2) {
        const spoiled = bytes.with(at, (bytes[at] ?? 0) ^ bit);
        expect(decodeLuState(spoiled)).toBeUndefined();
      }
    }
  });
});
