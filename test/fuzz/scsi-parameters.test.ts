/**
 * Hostile parameter lists: whatever bytes an initiator sends with PERSISTENT RESERVE OUT and EXTENDED COPY, and whatever a
 * damaged disk gives back as LU_STATE, nothing is thrown, and what is accepted is well formed. Long runs:
 * SCSI_FUZZ_RUNS=100000.
 */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewOf } from '../../src/base/fields.ts';
import { copyListMaxBytes, decodeCopyList } from '../../src/scsi/copy-parameters.ts';
import {
  copySegmentMaxBytes,
  copySegmentsMax,
  copyTargetsMax,
  logicalBlockBytes,
} from '../../src/scsi/limits.ts';
import { decodeLuState, encodeLuState } from '../../src/scsi/lu-state.ts';
import { decodePrState, encodePrState } from '../../src/scsi/persistent-codec.ts';
import { applyPrOut, PrOutAction } from '../../src/scsi/persistent-commands.ts';
import { decodePrOut, encodeFullStatus } from '../../src/scsi/persistent-parameters.ts';
import { assertPrState, emptyPrState, PrType } from '../../src/scsi/persistent-state.ts';
import {
  decodeTransportId,
  encodeTransportId,
  transportIdBytes,
} from '../../src/scsi/transport-id.ts';
import {
  copyList,
  identificationDescriptor,
  segmentDescriptor,
  segmentWithOffset,
} from '../support/scsi-copy-list.ts';

const numRuns = Number(process.env['SCSI_FUZZ_RUNS'] ?? 2000);

/** Some bytes of a good example changed, then cut or made longer. */
function spoiled(example: Uint8Array): fc.Arbitrary<Uint8Array> {
  const changes = fc.array(
    fc.tuple(fc.nat(example.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x80, 0xff))),
    { maxLength: 6 },
  );
  const tail = fc.uint8Array({ maxLength: 40 });
  const length = fc.oneof(fc.constant(example.length), fc.nat(example.length));
  return fc.tuple(changes, length, tail, fc.boolean()).map(([edits, kept, more, isLonger]) => {
    const bytes = example.slice();
    for (const [at, value] of edits) bytes[at] = value;
    return isLonger ? new Uint8Array([...bytes, ...more]) : bytes.subarray(0, kept);
  });
}

const portA = { initiatorName: 'iqn.2026-11.test:a', isid: '00023d000001' };
const portB = { initiatorName: 'iqn.2026-11.test:b', isid: '00023d000002' };

function transportIds(): Uint8Array {
  const first = transportIdBytes(portA);
  const bytes = new Uint8Array(first + transportIdBytes(portB));
  encodeTransportId(viewOf(bytes), 0, portA);
  encodeTransportId(viewOf(bytes), first, portB);
  return bytes;
}

function registerList(): Uint8Array {
  const ids = transportIds();
  const list = new Uint8Array(28 + ids.length);
  list[15] = 7;
  list[20] = 0x0d;
  viewOf(list).setUint32(24, ids.length);
  list.set(ids, 28);
  return list;
}

function moveList(): Uint8Array {
  const id = transportIds().subarray(0, transportIdBytes(portA));
  const list = new Uint8Array(24 + id.length);
  list[15] = 7;
  list[17] = 3;
  list[19] = 1;
  viewOf(list).setUint32(20, id.length);
  list.set(id, 24);
  return list;
}

const reserveLists = fc
  .oneof(spoiled(registerList()), spoiled(moveList()), fc.uint8Array({ maxLength: 120 }))
  .filter(({ length }) => length >= 24);

describe('PERSISTENT RESERVE OUT', () => {
  it('takes any list without a throw, and what it takes leaves a sound state that is kept whole', () => {
    const actions = fc.constantFrom(...Object.values(PrOutAction));
    fc.assert(
      fc.property(
        reserveLists,
        actions,
        fc.nat(255),
        fc.boolean(),
        (list, action, scopeType, lax) => {
          const decoded = decodePrOut(list, {
            action,
            scopeType,
            senderPort: 1,
            relativePorts: [1, 2],
            ignoresIsid: lax,
          });
          if (decoded.command === undefined) return;
          const sender = {
            initiatorName: 'iqn.2026-11.test:s',
            isid: lax ? '' : '0a0b0c0d0e0f',
            relativePort: 1,
          };
          const outcome = applyPrOut(emptyPrState, sender, decoded.command);
          if (outcome.change === undefined) return;
          const { state } = outcome.change;
          assertPrState(state);
          expect(encodeFullStatus(state).length).toBeGreaterThanOrEqual(8);
          if (state.isPersistent) {
            expect(decodePrState(encodePrState(state))?.registrants).toEqual(state.registrants);
          }
        },
      ),
      { numRuns },
    );
  });
});

describe('TransportIDs', () => {
  it('of any bytes are refused or written back the same', () => {
    fc.assert(
      fc.property(spoiled(transportIds()), (bytes) => {
        const decoded = decodeTransportId(viewOf(bytes), 0, bytes.length);
        if (decoded === undefined) return;
        expect(decoded.sizeBytes).toBeLessThanOrEqual(bytes.length);
        const again = new Uint8Array(transportIdBytes(decoded.port));
        encodeTransportId(viewOf(again), 0, decoded.port);
        expect(decodeTransportId(viewOf(again), 0, again.length)?.port).toEqual(decoded.port);
      }),
      { numRuns },
    );
  });
});

describe('EXTENDED COPY', () => {
  const naa = Uint8Array.from({ length: 16 }, (_unused, index) => 0x60 + index);
  const example = copyList(
    [identificationDescriptor(naa), identificationDescriptor(naa)],
    [
      segmentDescriptor({ target: 1, blockCount: 8, sourceLba: 16 }),
      segmentWithOffset({ source: 1, byteCount: 1000, targetLba: 5, targetSkip: 7 }),
    ],
    { listId: 3 },
  );

  it('refuses any list or reads one that is within every limit', () => {
    const lists = fc.oneof(spoiled(example), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(lists, (bytes) => {
        const { list, problem } = decodeCopyList(bytes);
        if (list === undefined) {
          expect(problem.code).toBeGreaterThan(0);
          return;
        }
        expect(list.targets.length).toBeLessThanOrEqual(copyTargetsMax);
        expect(list.segments.length).toBeLessThanOrEqual(copySegmentsMax);
        expect(bytes.length).toBeGreaterThanOrEqual(16);
        expect(list.targets.length * 32 + list.segments.length * 28).toBeLessThanOrEqual(
          copyListMaxBytes,
        );
        for (const { byteCount, sourceSkip, targetSkip } of list.segments) {
          expect(byteCount).toBeLessThanOrEqual(copySegmentMaxBytes);
          expect(Math.max(sourceSkip, targetSkip)).toBeLessThan(logicalBlockBytes);
        }
      }),
      { numRuns },
    );
  });
});

describe('kept state', () => {
  const state = {
    generation: 0,
    isPersistent: true,
    registrants: [
      { ...portA, relativePort: 1, key: 1n },
      { ...portB, relativePort: 2, key: 2n },
    ],
    reservation: { type: PrType.writeExclusive, holder: `${portB.initiatorName},${portB.isid},2` },
  };

  it('that is damaged is refused, or a sound reservation', () => {
    fc.assert(
      fc.property(spoiled(encodePrState(state)), (bytes) => {
        const decoded = decodePrState(bytes);
        if (decoded !== undefined) assertPrState(decoded);
      }),
      { numRuns },
    );
  });

  it('of any bytes is refused or has the parts that it was made of', () => {
    const whole = encodeLuState(new Map([[2, encodePrState(state)]]));
    fc.assert(
      fc.property(fc.oneof(spoiled(whole), fc.uint8Array({ maxLength: 64 })), (bytes) => {
        const parts = decodeLuState(bytes);
        if (parts !== undefined) expect(encodeLuState(parts)).toEqual(bytes);
      }),
      { numRuns },
    );
  });
});
