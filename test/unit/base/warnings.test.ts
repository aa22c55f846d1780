import { beforeEach, describe, expect, it } from 'vitest';
import {
  warningLinesMax,
  warningWindowMaxMs,
  warningWindowMs,
} from '../../../src/base/connection-limits.ts';
import { Warnings } from '../../../src/base/warnings.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

let time: VirtualTime;
let lines: string[];
let warnings: Warnings;

beforeEach(() => {
  time = new VirtualTime();
  lines = [];
  const warn = (message: string): void => void lines.push(message);
  warnings = new Warnings({ info: warn, warn, error: warn }, time, 'iscsi');
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
