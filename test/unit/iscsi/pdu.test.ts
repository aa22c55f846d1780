/** Layout tables and codecs of PDUs that no recording holds. */
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../../src/base/fields.ts';
import { type AdditionalHeaders, decodeAdditionalHeaders } from '../../../src/iscsi/pdu/ahs.ts';
import { asyncMessage, encodeAsyncMessage } from '../../../src/iscsi/pdu/async-message.ts';
import { dataIn, encodeDataIn } from '../../../src/iscsi/pdu/data-in.ts';
import { dataOut } from '../../../src/iscsi/pdu/data-out.ts';
import { header, headerBytes, paddedLength } from '../../../src/iscsi/pdu/header.ts';
import { loginRequest } from '../../../src/iscsi/pdu/login-request.ts';
import { loginResponse } from '../../../src/iscsi/pdu/login-response.ts';
import { logoutRequest } from '../../../src/iscsi/pdu/logout-request.ts';
import { logoutResponse } from '../../../src/iscsi/pdu/logout-response.ts';
import { decodeLun, encodeLun } from '../../../src/iscsi/pdu/lun.ts';
import { encodeNopIn, nopIn } from '../../../src/iscsi/pdu/nop-in.ts';
import { decodeNopOut, newNopOut, nopOut } from '../../../src/iscsi/pdu/nop-out.ts';
import { r2t } from '../../../src/iscsi/pdu/r2t.ts';
import { encodeReject, reject } from '../../../src/iscsi/pdu/reject.ts';
import {
  decodeScsiCommand,
  newScsiCommand,
  scsiCommand,
} from '../../../src/iscsi/pdu/scsi-command.ts';
import {
  encodeSenseSegment,
  scsiResponse,
  senseSegmentBytes,
} from '../../../src/iscsi/pdu/scsi-response.ts';
import {
  decodeTaskManagementRequest,
  taskManagementRequest,
} from '../../../src/iscsi/pdu/task-management-request.ts';
import {
  encodeTaskManagementResponse,
  taskManagementResponse,
} from '../../../src/iscsi/pdu/task-management-response.ts';
import { decodeTextRequest, textRequest } from '../../../src/iscsi/pdu/text-request.ts';
import { textResponse } from '../../../src/iscsi/pdu/text-response.ts';

const tables = {
  header,
  scsiCommand,
  scsiResponse,
  taskManagementRequest,
  taskManagementResponse,
  dataOut,
  dataIn,
  r2t,
  asyncMessage,
  textRequest,
  textResponse,
  loginRequest,
  loginResponse,
  logoutRequest,
  logoutResponse,
  reject,
  nopOut,
  nopIn,
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const numbers = { statSn: 0xa1, expCmdSn: 0xb1, maxCmdSn: 0xc1 };

/** 48 bytes that an encoder wrote into noise. */
function encoded(encode: (view: DataView, at: number) => void): string {
  const bytes = new Uint8Array(64).fill(0xee);
  encode(viewOf(bytes), 8);
  expect(hex(bytes.subarray(0, 8)) + hex(bytes.subarray(56))).toBe('ee'.repeat(16));
  return hex(bytes.subarray(8, 56));
}

/** A header from pairs of offset and hex. */
function headerOf(...pieces: readonly (readonly [number, string])[]): DataView {
  const bytes = Buffer.alloc(headerBytes);
  for (const [offset, text] of pieces) bytes.write(text, offset, 'hex');
  return viewOf(bytes);
}

describe('layout tables', () => {
  it.each(Object.entries(tables))(
    '%s: fields lie inside 48 bytes, apart from each other, aligned',
    (_name, table) => {
      const taken = new Set<number>();
      for (const { offset, size } of Object.values(table)) {
        for (let at = offset; at < offset + size; at += 1) {
          expect(taken.has(at)).toBe(false);
          taken.add(at);
        }
        if (size === 2 || size === 4) expect(offset % size).toBe(0);
        expect(offset + size).toBeLessThanOrEqual(headerBytes);
      }
    },
  );

  it('padding goes to the next multiple of four', () => {
    expect([0, 1, 3, 4, 5, 8192].map(paddedLength)).toEqual([0, 4, 4, 4, 8, 8192]);
  });
});

const writtenLun = (lun: number): string =>
  encoded((view, at) => {
    for (let offset = 0; offset < headerBytes; offset += 1) view.setUint8(at + offset, 0);
    encodeLun(view, at, lun);
  }).slice(16, 32);

describe('LUN', () => {
  it.each([
    ['0000000000000000', 0],
    ['0001000000000000', 1],
    ['00ff000000000000', 255],
    ['4000000000000000', 0],
    ['4001000000000000', 1],
    ['4100000000000000', 256],
    ['7fff000000000000', 16_383],
    ['0100000000000000', -1],
    ['8000000000000000', -1],
    ['c101000000000000', -1],
    ['0001000100000000', -1],
    ['0001000000000001', -1],
  ])('%s names %i', (field, lun) => {
    expect(decodeLun(headerOf([8, field]), 0)).toBe(lun);
  });

  it('is written peripheral up to 255, flat above', () => {
    expect([0, 255, 256, 16_383].map(writtenLun)).toEqual([
      '0000000000000000',
      '00ff000000000000',
      '4100000000000000',
      '7fff000000000000',
    ]);
  });
});

const decodeCommand = (first: string): [string | undefined, ReturnType<typeof newScsiCommand>] => {
  const into = newScsiCommand();
  const view = headerOf(
    [0, first],
    [8, '0002'],
    [16, '0000000a0000100000000014fffffffe'],
    [32, '2a'],
  );
  return [decodeScsiCommand(view, 0, into), into];
};

describe('SCSI Command', () => {
  it('decodes its flags', () => {
    expect(decodeCommand('41a1')).toEqual([
      undefined,
      expect.objectContaining({
        isImmediate: true,
        isFinal: true,
        isRead: false,
        isWrite: true,
        attribute: 1,
        lun: 2,
        initiatorTaskTag: 10,
        expectedDataTransferLength: 4096,
        cmdSn: 20,
        expStatSn: 0xffff_fffe,
      }),
    ]);
    expect(decodeCommand('01c2')[1]).toMatchObject({
      isImmediate: false,
      isRead: true,
      attribute: 2,
    });
    expect(decodeCommand('0123')[0]).toBeUndefined();
  });

  it('refuses what contradicts itself', () => {
    expect(decodeCommand('0185')[0]).toBe('reserved task attribute');
    expect(decodeCommand('0141')[0]).toBe('data announced for a command that writes none');
  });
});

describe('AHS', () => {
  const cdb = Uint8Array.from({ length: 16 }, (_, index) => index);
  const decode = (text: string): string | AdditionalHeaders => {
    const into: AdditionalHeaders = { extendedCdb: undefined, bidirectionalReadLength: undefined };
    const noise = Buffer.from(`eeee${text}`, 'hex');
    const view = new DataView(noise.buffer, noise.byteOffset + 2, noise.length - 2);
    return decodeAdditionalHeaders(view, cdb, into) ?? into;
  };

  it('an extended CDB is the whole CDB', () => {
    const found = decode('0005010010111213');
    expect(found).toMatchObject({ bidirectionalReadLength: undefined });
    expect(hex((found as AdditionalHeaders).extendedCdb ?? cdb)).toBe(
      '000102030405060708090a0b0c0d0e0f10111213',
    );
  });

  it('both kinds, with padding', () => {
    const found = decode('00040100111213000005020000008000') as AdditionalHeaders;
    expect(found.bidirectionalReadLength).toBe(0x8000);
    expect(found.extendedCdb).toHaveLength(19);
  });

  it.each([
    ['000501', 'truncated AHS'],
    ['0005010010', 'AHS longer than its segment'],
    ['00000100', 'AHS longer than its segment'],
    ['00010100', 'wrong extended CDB AHS'],
    ['0005030010111213', 'unknown AHS type'],
    ['0004020010111200', 'wrong bidirectional AHS'],
    ['00050100101112130005010010111213', 'wrong extended CDB AHS'],
    [`00f60100${'00'.repeat(248)}`, 'wrong extended CDB AHS'],
  ])('%s: refused', (text, reason) => {
    expect(decode(text)).toBe(reason);
  });

  it('a CDB of 260 bytes is the longest', () => {
    expect(decode(`00f50100${'00'.repeat(244)}`)).toBeTypeOf('object');
  });
});

describe('encoders write every byte of a header', () => {
  it('Data-In without status', () => {
    const pdu = {
      ...numbers,
      isFinal: false,
      hasStatus: false,
      status: 2,
      residualFlags: 6,
      residual: 9,
      initiatorTaskTag: 1,
      dataSn: 3,
      bufferOffset: 0x10_0000,
      dataSegmentLength: 0x04_0000,
    };
    expect(
      encoded((view, at) => {
        encodeDataIn(view, at, pdu);
      }),
    ).toBe(
      '2500000000040000' +
        '0000000000000000' +
        '00000001ffffffff' +
        '00000000000000b1' +
        '000000c100000003' +
        '0010000000000000',
    );
  });

  it('NOP-In, Reject, Async Message, task management response', () => {
    expect(
      encoded((view, at) => {
        encodeNopIn(view, at, {
          ...numbers,
          lun: 3,
          initiatorTaskTag: 0xffff_ffff,
          targetTransferTag: 8,
          dataSegmentLength: 0,
        });
      }),
    ).toBe(
      '2080000000000000' +
        '0003000000000000' +
        'ffffffff00000008' +
        '000000a1000000b1' +
        '000000c100000000' +
        '0000000000000000',
    );
    expect(
      encoded((view, at) => {
        encodeReject(view, at, { ...numbers, reason: 9 });
      }),
    ).toBe(
      '3f80090000000030' +
        '0000000000000000' +
        'ffffffff00000000' +
        '000000a1000000b1' +
        '000000c100000000' +
        '0000000000000000',
    );
    expect(
      encoded((view, at) => {
        encodeAsyncMessage(view, at, {
          ...numbers,
          event: 1,
          parameter1: 0,
          parameter2: 0,
          parameter3: 10,
        });
      }),
    ).toBe(
      '3280000000000000' +
        '0000000000000000' +
        'ffffffff00000000' +
        '000000a1000000b1' +
        '000000c101000000' +
        '0000000a00000000',
    );
    expect(
      encoded((view, at) => {
        encodeTaskManagementResponse(view, at, { ...numbers, response: 255, initiatorTaskTag: 4 });
      }),
    ).toBe(
      '2280ff0000000000' +
        '0000000000000000' +
        '0000000400000000' +
        '000000a1000000b1' +
        '000000c100000000' +
        '0000000000000000',
    );
  });

  it('sense is preceded by its length', () => {
    const sense = Uint8Array.of(0x70, 0, 5);
    const target = new Uint8Array(7).fill(0xee);
    encodeSenseSegment(target, 1, sense);
    expect(hex(target)).toBe('ee0003700005ee');
    expect(senseSegmentBytes(sense)).toBe(5);
  });
});

describe('decoders', () => {
  it('task management', () => {
    const view = headerOf(
      [0, '4281'],
      [8, '0007'],
      [16, '00000001000000020000000300000004'],
      [32, '00000005'],
    );
    expect(decodeTaskManagementRequest(view, 0)).toEqual({
      isImmediate: true,
      function: 1,
      lun: 7,
      initiatorTaskTag: 1,
      referencedTaskTag: 2,
      cmdSn: 3,
      expStatSn: 4,
      refCmdSn: 5,
    });
  });

  it('NOP-Out', () => {
    const into = newNopOut();
    decodeNopOut(headerOf([0, '4080'], [16, '00000001ffffffff0000000300000004']), 0, into);
    expect(into).toEqual({
      isImmediate: true,
      lun: 0,
      initiatorTaskTag: 1,
      targetTransferTag: 0xffff_ffff,
      cmdSn: 3,
      expStatSn: 4,
    });
  });

  it('text: final and continued contradict each other', () => {
    expect(decodeTextRequest(headerOf([0, '04c0']), 0)).toBeTypeOf('string');
    expect(decodeTextRequest(headerOf([0, '0440']), 0)).toMatchObject({
      isFinal: false,
      isContinued: true,
    });
    expect(decodeTextRequest(headerOf([0, '4480']), 0)).toMatchObject({
      isFinal: true,
      isImmediate: true,
    });
  });
});
