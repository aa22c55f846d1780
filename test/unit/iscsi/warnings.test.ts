import { beforeEach, describe, expect, it } from 'vitest';
import {
  warningLinesMax,
  warningWindowMaxMs,
  warningWindowMs,
} from '../../../src/iscsi/server-limits.ts';
import { Warnings } from '../../../src/iscsi/warnings.ts';
import { LoginWorld, targetName } from '../../support/login-world.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

let time: VirtualTime;
let lines: string[];
let warnings: Warnings;

beforeEach(() => {
  time = new VirtualTime();
  lines = [];
  const warn = (message: string): void => void lines.push(message);
  warnings = new Warnings({ info: warn, warn, error: warn }, time);
});

describe('warnings', () => {
  it('are written one by one while they are few', async () => {
    for (let count = 0; count < 3 * warningLinesMax; count += 1) {
      warnings.warn('w', {});
      await time.pass(warningWindowMs);
    }
    expect(lines).toHaveLength(3 * warningLinesMax);
  });

  it('of a flood are cut off and counted', async () => {
    for (let count = 0; count < 1000; count += 1) warnings.warn('w', {});
    expect(lines).toHaveLength(warningLinesMax);
    await time.pass(warningWindowMs);
    const leftOut = 1000 - warningLinesMax;
    expect(lines.at(-1)).toBe(`${leftOut} more iscsi warnings in 10 s were left out`);
  });

  it('of a day of flood are some thousand lines, and afterwards all are written again', async () => {
    const day = 24 * 3600 * 1000;
    for (let ms = 0; ms < day; ms += 1000) {
      for (let count = 0; count < 50; count += 1) warnings.warn('w', {});
      await time.pass(1000);
    }
    expect(lines.length).toBeLessThan(4000);
    await time.pass(2 * warningWindowMaxMs);
    lines.length = 0;
    for (let count = 0; count < warningLinesMax; count += 1) warnings.warn('w', {});
    await time.pass(warningWindowMs);
    for (let count = 0; count < warningLinesMax; count += 1) warnings.warn('w', {});
    expect(lines).toHaveLength(2 * warningLinesMax);
  });
});

describe('a refused login', () => {
  it.each([
    ['the name and the reason', 'iqn.2026-01.x:a', 'iqn.2026-01.x:a'],
    ['a name that would break the line', 'iqn.a\u001b[2J\u2028x', 'iqn.a?[2J?x'],
    ['a name without end, cut', 'i'.repeat(255), 'i'.repeat(223)],
    ['no name', undefined, ''],
  ])('is reported with %s', (_what, given, initiatorName) => {
    const world = new LoginWorld();
    world.hosts.otherwise = 'forbidden';
    const peer = world.connect();
    const keys = { TargetName: `${targetName}x` };
    peer.ask(given === undefined ? keys : { InitiatorName: given, ...keys });
    expect(peer.refusal).toMatchObject({ initiatorName });
    if (given === initiatorName) {
      expect(peer.refusal?.reason).toBe(`it may not use target ${targetName}x: no host names it`);
    }
  });
});
