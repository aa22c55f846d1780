/** Target port groups: what REPORT TARGET PORT GROUPS says, who is told of a change, what a bad way still serves. */
import { describe, expect, it } from 'vitest';
import { SenseCode } from '../../../src/scsi/sense.ts';
import {
  AluaState,
  encodeTargetGroups,
  type TargetGroup,
  TargetGroups,
} from '../../../src/scsi/target-groups.ts';

const near: TargetGroup = { id: 1, state: AluaState.optimized, isPreferred: true, ports: [1, 2] };
const far: TargetGroup = { id: 2, state: AluaState.nonOptimized, isPreferred: false, ports: [3] };

function cdb(...bytes: number[]): Uint8Array {
  const full = new Uint8Array(16);
  full.set(bytes);
  return full;
}

describe('REPORT TARGET PORT GROUPS data', () => {
  it('lists groups with their states and ports (SPC-4 table 299)', () => {
    const data = encodeTargetGroups(new TargetGroups([near, far]), false);
    expect(Buffer.from(data).toString('hex')).toBe(
      ['0000001c', '808f000100000002', '00000001', '00000002', '018f000200000001', '00000003'].join(
        '',
      ),
    );
  });

  it('has a longer header in the extended format', () => {
    const data = encodeTargetGroups(new TargetGroups([far]), true);
    expect(Buffer.from(data.subarray(0, 8)).toString('hex')).toBe('00000010101e0000');
    expect(Buffer.from(data.subarray(8)).toString('hex')).toBe('018f00020000000100000003');
  });
});

describe('target groups', () => {
  it('know every port and its group', () => {
    const groups = new TargetGroups([far, near]);
    expect(groups.relativePorts).toEqual([1, 2, 3]);
    expect([groups.groupOf(3), groups.groupOf(1)]).toEqual([2, 1]);
    expect(groups.groupOf(99)).toBe(2);
    expect(new TargetGroups([]).groupOf(1)).toBe(1);
  });

  it('tell of changed states, not of changed ports', () => {
    const groups = new TargetGroups([near, far]);
    let told = 0;
    groups.watch(() => {
      told += 1;
    });
    groups.update([{ ...near, ports: [1, 2, 4] }, far]);
    expect(told).toBe(0);
    groups.update([{ ...near, state: AluaState.standby }, far]);
    expect(told).toBe(1);
    // Status code: altered by implicit asymmetric access.
    expect(encodeTargetGroups(groups, false)[4 + 5]).toBe(2);
  });

  it.each([
    [AluaState.standby, cdb(0x28), SenseCode.targetPortInStandby],
    [AluaState.standby, cdb(0x9e, 0x12), SenseCode.targetPortInStandby],
    [AluaState.standby, cdb(0x9e, 0x10), undefined],
    [AluaState.standby, cdb(0x00), undefined],
    [AluaState.standby, cdb(0x5f), undefined],
    [AluaState.unavailable, cdb(0x00), SenseCode.targetPortUnavailable],
    [AluaState.unavailable, cdb(0x12), undefined],
    [AluaState.transitioning, cdb(0x2a), SenseCode.asymmetricTransition],
    [AluaState.transitioning, cdb(0xa3, 0x0a), undefined],
    [AluaState.nonOptimized, cdb(0x2a), undefined],
  ])('in state %i serve %o or say why not', (state, command, code) => {
    const groups = new TargetGroups([{ ...near, state }, far]);
    expect(groups.refusal(1, command)).toBe(code);
    expect(groups.refusal(3, command)).toBeUndefined();
    expect(groups.isRestricted).toBe(state > AluaState.nonOptimized);
  });
});
