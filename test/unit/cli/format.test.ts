import { describe, expect, it } from 'vitest';
import { count } from '../../../src/base/words.ts';
import { facts, formatDuration, formatTime, table } from '../../../src/cli/format.ts';

describe('tables', () => {
  it('align columns, numbers at the right, without blanks at line ends', () => {
    const rows = [
      ['a', '1 GiB', ''],
      ['long-name', '512 MiB', 'x'],
    ];
    expect(table(['NAME', 'SIZE', 'NOTE'], rows, new Set(['SIZE']))).toBe(
      ['NAME          SIZE  NOTE', 'a            1 GiB', 'long-name  512 MiB  x'].join('\n'),
    );
  });

  it('align the values of facts', () => {
    expect(
      facts([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toBe('a     1\nlong  2');
  });
});

describe('times', () => {
  it.each([
    [-5000, 'just now'],
    [999, 'just now'],
    [1000, '1 s ago'],
    [59_999, '59 s ago'],
    [60_000, '1 min ago'],
    [3_599_999, '59 min ago'],
    [3_600_000, '1 h ago'],
    [48 * 3_600_000 - 1, '47 h ago'],
    [48 * 3_600_000, '2 days ago'],
  ])('of %i ms before now are %s', (elapsedMs, text) => {
    const timeMs = new Date(2026, 0, 2, 3, 4, 5).getTime();
    expect(formatTime(timeMs, timeMs + elapsedMs)).toBe(`2026-01-02 03:04:05 (${text})`);
  });

  it.each([
    [12.4, '12 ms'],
    [999, '999 ms'],
    [3210, '3.2 s'],
    [245_000, '4 min 5 s'],
  ])('of %d ms last %s', (durationMs, text) => {
    expect(formatDuration(durationMs)).toBe(text);
  });
});

it('counts in singular and plural', () => {
  expect([0, 1, 2].map((number) => count(number, 'snapshot'))).toEqual([
    '0 snapshots',
    '1 snapshot',
    '2 snapshots',
  ]);
});
