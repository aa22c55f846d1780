/** The parameter list of EXTENDED COPY(LID1): SPC-4 6.4.3 and on. */
import { describe, expect, it } from 'vitest';
import { copyListMaxBytes, decodeCopyList } from '../../../src/scsi/copy-parameters.ts';
import { copySegmentsMax, copyTargetsMax } from '../../../src/scsi/limits.ts';
import { SenseCode } from '../../../src/scsi/sense.ts';
import {
  copyList,
  identificationDescriptor,
  segmentDescriptor,
  segmentWithOffset,
} from '../../support/scsi-copy-list.ts';

const naa = Uint8Array.from({ length: 16 }, (_unused, index) => 0x60 + index);
const target = identificationDescriptor(naa);
const segment = segmentDescriptor({ blockCount: 8, sourceLba: 16, targetLba: 32 });

function codeOf(list: Uint8Array): number | undefined {
  return decodeCopyList(list).problem?.code;
}

describe('a copy list', () => {
  it('names units by NAA and blocks by LBA', () => {
    const { list } = decodeCopyList(copyList([target, target], [segment], { listId: 5 }));
    expect(list?.listId).toBe(5);
    expect(list?.targets).toHaveLength(2);
    expect([...(list?.targets[0]?.naa ?? [])]).toEqual([...naa]);
    expect(list?.segments).toEqual([
      {
        source: 0,
        target: 0,
        sourceLba: 16,
        targetLba: 32,
        sourceSkip: 0,
        targetSkip: 0,
        byteCount: 4096,
      },
    ]);
  });

  it('takes segments with byte offsets', () => {
    const given = {
      target: 1,
      byteCount: 1000,
      sourceLba: 1,
      targetLba: 2,
      sourceSkip: 3,
      targetSkip: 511,
    };
    const { list } = decodeCopyList(copyList([target, target], [segmentWithOffset(given)]));
    expect(list?.segments).toEqual([{ source: 0, ...given }]);
  });

  it('has no list identifier with usage 11b, which must come with zero', () => {
    expect(
      decodeCopyList(copyList([target], [segment], { usage: 3 })).list?.listId,
    ).toBeUndefined();
    const invalid = SenseCode.invalidFieldInParameterList;
    expect(codeOf(copyList([target], [segment], { usage: 3, listId: 1 }))).toBe(invalid);
    expect(codeOf(copyList([target], [segment], { usage: 1 }))).toBe(invalid);
  });

  it('is refused when a descriptor is cut off', () => {
    const whole = copyList([target], [segment]);
    for (const cut of [1, segment.length, segment.length + 1, whole.length - 1]) {
      expect(codeOf(whole.subarray(0, whole.length - cut))).toBe(
        SenseCode.parameterListLengthError,
      );
    }
  });

  it('may have as many descriptors as announced, and not one more', () => {
    const targets = new Array<Uint8Array>(copyTargetsMax).fill(target);
    const segments = new Array<Uint8Array>(copySegmentsMax).fill(segmentWithOffset({}));
    const full = copyList(targets, segments);
    expect(full.length).toBe(16 + copyListMaxBytes);
    expect(codeOf(full)).toBeUndefined();
    expect(codeOf(copyList([...targets, target], [segment]))).toBe(
      SenseCode.tooManyTargetDescriptors,
    );
    const more = new Array<Uint8Array>(copySegmentsMax + 1).fill(segment);
    expect(codeOf(copyList([target], more))).toBe(SenseCode.tooManySegmentDescriptors);
    expect(codeOf(copyList([...targets, target], segments))).toBe(
      SenseCode.parameterListLengthError,
    );
  });

  it.each([
    [
      'another CSCD type',
      copyList([target.with(0, 0xe0)], [segment]),
      SenseCode.unsupportedTargetDescriptor,
    ],
    [
      'another segment type',
      copyList([target], [segment.with(0, 0x03)]),
      SenseCode.unsupportedSegmentDescriptor,
    ],
    [
      'another block length',
      copyList([target.with(30, 0x10)], [segment]),
      SenseCode.invalidFieldInParameterList,
    ],
    [
      'a wrong descriptor length',
      copyList([target], [segment.with(3, 0x19)]),
      SenseCode.invalidFieldInParameterList,
    ],
    [
      'inline data',
      copyList([target], [segment], { inlineBytes: 1 }),
      SenseCode.inlineDataLengthExceeded,
    ],
    [
      'a segment that is too long',
      copyList([target], [segmentDescriptor({ blockCount: 32_769 })]),
      SenseCode.invalidFieldInParameterList,
    ],
    [
      'an offset past its block',
      copyList([target], [segmentWithOffset({ byteCount: 1, sourceSkip: 512 })]),
      SenseCode.invalidFieldInParameterList,
    ],
  ])('with %s is refused', (_what, list, code) => {
    expect(codeOf(list)).toBe(code);
  });

  it('may have any LU ID TYPE: SPC-4 made the field obsolete', () => {
    expect(codeOf(copyList([target.with(1, 0x40)], [segment]))).toBeUndefined();
  });

  it('with a null device, or a designator that is no NAA, is read: what it is for decides', () => {
    const nul = decodeCopyList(copyList([target.with(1, 0x20)], [segment])).list;
    expect(nul?.targets[0]?.isNull).toBe(true);
    const other = decodeCopyList(copyList([target.with(5, 0x01)], [segment])).list;
    expect(other?.targets[0]?.naa).toBeUndefined();
  });
});
