/** Sense bytes, residuals and unit attentions: the small things that every command ends with. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Residual, settleResidual } from '../../../src/scsi/residual.ts';
import {
  cdbField,
  encodeSense,
  parameterField,
  SenseCode,
  type SenseDetail,
  senseMaxBytes,
} from '../../../src/scsi/sense.ts';
import { UnitAttentions } from '../../../src/scsi/unit-attention.ts';
import { hex } from '../../support/scsi-raw.ts';

function sense(code: number, isDescriptor: boolean, detail?: SenseDetail): Uint8Array {
  const target = new Uint8Array(senseMaxBytes).fill(0xee);
  return target.subarray(0, encodeSense(target, code, detail, isDescriptor));
}

describe('sense data', () => {
  it('in fixed format has key, ASC and ASCQ at their places', () => {
    const expected = hex('70 00 05 00000000 0a 00000000 25 00 00 000000');
    expect(sense(SenseCode.logicalUnitNotSupported, false)).toEqual(expected);
  });

  it('in fixed format has INFORMATION with VALID', () => {
    const expected = hex('f0 00 03 12345678 0a 00000000 11 00 00 000000');
    const detail = { information: 0x12345678 };
    expect(sense(SenseCode.unrecoveredReadError, false, detail)).toEqual(expected);
  });

  it('in fixed format leaves out INFORMATION that does not fit, and says so', () => {
    const expected = hex('70 00 03 00000000 0a 00000000 11 00 00 000000');
    const detail = { information: 2 ** 32 };
    expect(sense(SenseCode.unrecoveredReadError, false, detail)).toEqual(expected);
  });

  it('points at the field of the CDB', () => {
    const expected = hex('70 00 05 00000000 0a 00000000 24 00 00 cf0002');
    const detail = { keySpecific: cdbField(2, 7) };
    expect(sense(SenseCode.invalidFieldInCdb, false, detail)).toEqual(expected);
  });

  it('in descriptor format carries 64 bits of INFORMATION and the field', () => {
    const information = 2 ** 40 + 5;
    const detail = { information, keySpecific: parameterField(300) };
    const expected = hex(
      '72 05 26 00 000000 14  00 0a 80 00 0000010000000005  02 06 0000 80012c 00',
    );
    expect(sense(SenseCode.invalidFieldInParameterList, true, detail)).toEqual(expected);
  });

  it('in descriptor format without detail is its header', () => {
    expect(sense(SenseCode.writeProtected, true)).toEqual(hex('72 07 27 00 000000 00'));
  });
});

const settled = (expected: number, required: number, moved: number): Residual => {
  const result = { residual: -1, isOverflow: false, isUnderflow: false };
  settleResidual(result, expected, required, moved);
  return result;
};

describe('the residual', () => {
  it.each([
    [512, 512, 512, 0, false, false],
    [200, 512, 200, 312, true, false],
    [0, 512, 0, 512, true, false],
    [10_000, 512, 512, 9488, false, true],
    [512, 0, 0, 512, false, true],
    [0, 0, 0, 0, false, false],
    [4096, 4096, 1024, 3072, false, true],
  ])('of %i expected, %i required, %i moved', (expected, required, moved, ...result) => {
    const [residual, isOverflow, isUnderflow] = result;
    expect(settled(expected, required, moved)).toEqual({ residual, isOverflow, isUnderflow });
  });

  it('never is both, and never negative', () => {
    const bytes = fc.nat(1 << 20);
    fc.assert(
      fc.property(bytes, bytes, bytes, (expected, required, some) => {
        const result = settled(expected, required, Math.min(expected, required, some));
        expect(result.isOverflow && result.isUnderflow).toBe(false);
        expect(result.residual > 0).toBe(result.isOverflow || result.isUnderflow);
      }),
    );
  });
});

describe('unit attentions', () => {
  it('are reported oldest first, each kind once', () => {
    const attentions = new UnitAttentions();
    attentions.add(SenseCode.capacityChanged);
    attentions.add(SenseCode.modeParametersChanged);
    attentions.add(SenseCode.capacityChanged);
    expect(attentions.take()).toBe(SenseCode.capacityChanged);
    expect(attentions.take()).toBe(SenseCode.modeParametersChanged);
    expect(attentions.isPending).toBe(false);
  });

  it('of a reset come first and once; what else happened is told all the same', () => {
    const attentions = new UnitAttentions();
    attentions.add(SenseCode.powerOnOrReset);
    attentions.add(SenseCode.capacityChanged);
    attentions.add(SenseCode.commandsClearedByAnotherInitiator);
    attentions.add(SenseCode.softThresholdReached);
    attentions.add(SenseCode.busDeviceReset);
    expect(attentions.take()).toBe(SenseCode.busDeviceReset);
    expect(attentions.take()).toBe(SenseCode.capacityChanged);
    expect(attentions.take()).toBe(SenseCode.softThresholdReached);
    expect(attentions.take()).toBeUndefined();
  });
});
