import { describe, expect, it } from 'vitest';
import { formatMomentTime, isFixedMoment, parseMoment } from '../../../src/base/moment.ts';

const day = 86_400_000;

function timeMs(text: string): number | undefined {
  const spec = parseMoment(text);
  return spec?.kind === 'time' ? spec.timeMs : undefined;
}

function agoMs(text: string): number | undefined {
  const spec = parseMoment(text);
  return spec?.kind === 'ago' ? spec.agoMs : undefined;
}

describe('moments', () => {
  it('names the present, a snapshot and a position', () => {
    expect(parseMoment('now')).toEqual({ kind: 'now' });
    expect(parseMoment('snapshot:mon-1.a_b')).toEqual({ kind: 'snapshot', name: 'mon-1.a_b' });
    expect(parseMoment('position:16783360')).toEqual({ kind: 'position', position: 16_783_360 });
  });

  it('reads RFC 3339 with a zone, to ten microseconds and beyond', () => {
    expect(timeMs('2026-11-22T14:03:07.250Z')).toBe(Date.UTC(2026, 10, 22, 14, 3, 7, 250));
    expect(timeMs('2026-11-22t14:03:07z')).toBe(Date.UTC(2026, 10, 22, 14, 3, 7));
    expect(timeMs('2026-11-22 15:33:07+01:30')).toBe(Date.UTC(2026, 10, 22, 14, 3, 7));
    expect(timeMs('2026-11-22T09:03-05:00')).toBe(Date.UTC(2026, 10, 22, 14, 3));
    expect(timeMs('2026-11-22T14:03:07.25037Z')).toBeCloseTo(
      Date.UTC(2026, 10, 22, 14, 3, 7, 250) + 0.37,
      2,
    );
    expect(timeMs('2016-12-31T23:59:60Z')).toBe(Date.UTC(2017, 0, 1));
    expect(timeMs('2024-02-29T00:00:00Z')).toBe(Date.UTC(2024, 1, 29));
  });

  it('takes a time without zone as local time', () => {
    expect(timeMs('2026-07-01T12:00:00.5')).toBe(new Date(2026, 6, 1, 12, 0, 0, 500).getTime());
    expect(timeMs('2026-01-01 12:00')).toBe(new Date(2026, 0, 1, 12).getTime());
  });

  it('adds up ages', () => {
    expect(agoMs('-15m')).toBe(15 * 60_000);
    expect(agoMs('-2h30m')).toBe(9_000_000);
    expect(agoMs('-1d')).toBe(day);
    expect(agoMs('-1w1d1h1m1.5s')).toBe(8 * day + 3_661_500);
    expect(agoMs('-500ms')).toBe(500);
    expect(agoMs('-1m500ms')).toBe(60_500);
  });

  it.each([
    '',
    'yesterday',
    'Now',
    'snapshot:',
    'snapshot:a/b',
    'position:',
    'position:-1',
    'position:99999999999999999',
    '-',
    '15m',
    '-15',
    '-m',
    '-30m2h',
    '-1y',
    '2026-11-22',
    '2026-13-01T00:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-11-00T00:00:00Z',
    '2026-11-22T24:00:00Z',
    '2026-11-22T14:60:00Z',
    '2026-11-22T14:03:07+24:00',
    '2026-11-22T14:03:07.Z',
    `snapshot:${'a'.repeat(129)}`,
    `-${'9'.repeat(200)}d`,
  ])('refuses "%s"', (text) => {
    expect(parseMoment(text)).toBeUndefined();
  });

  it('writes times that it reads back', () => {
    for (const text of ['2026-11-22T14:03:07.250Z', '2026-11-22T14:03:07.25037Z']) {
      expect(formatMomentTime(timeMs(text) ?? 0)).toBe(text);
    }
  });

  it('knows what stays the same moment', () => {
    expect(isFixedMoment('snapshot:mon')).toBe(true);
    expect(isFixedMoment('position:7')).toBe(true);
    expect(isFixedMoment('2026-11-22T14:03:07Z')).toBe(true);
    expect(isFixedMoment('2026-11-22T14:03:07')).toBe(false);
    expect(isFixedMoment('-15m')).toBe(false);
    expect(isFixedMoment('now')).toBe(false);
    expect(isFixedMoment('nothing')).toBe(false);
  });
});
