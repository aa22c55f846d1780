import { describe, expect, it } from 'vitest';
import { chapAccount, checkChapAccounts } from '../../../src/control/chap-rules.ts';

describe('a CHAP secret', () => {
  it.each([12, 255])('may have %i bytes', (length) => {
    expect(chapAccount({ user: 'u', secret: 'x'.repeat(length) }).secret).toHaveLength(length);
  });

  it.each([
    ['11 bytes', 'x'.repeat(11), /too weak: it has 11 bytes/],
    ['256 bytes', 'x'.repeat(256), /256 bytes; 255 is the most/],
    ['none', '', /too weak: it has 0 bytes/],
    ['two lines', 'first-line\nsecond-line', /control characters/],
  ])('may not have %s, and the refusal does not name it', (_what, secret, message) => {
    expect(() => chapAccount({ user: 'u', secret })).toThrow(message);
    if (secret === '') return;
    try {
      chapAccount({ user: 'u', secret });
    } catch (thrown) {
      expect(JSON.stringify(thrown) + String(thrown)).not.toContain(secret.slice(0, 8));
    }
  });

  it('is counted in bytes', () => {
    expect(chapAccount({ user: 'u', secret: 'öööööö' }).secret).toHaveLength(12);
    expect(() => chapAccount({ user: 'u', secret: 'ö'.repeat(128) })).toThrow('256 bytes');
  });
});

it.each(['', 'a\nb', 'a\0b', 'x'.repeat(256)])('%j is no CHAP user name', (user) => {
  expect(() => chapAccount({ user, secret: 'long enough secret' })).toThrow('a CHAP user name');
});

it('two accounts of a host have different secrets, and the target does not prove itself alone', () => {
  const one = chapAccount({ user: 'a', secret: 'the first secret' });
  const other = chapAccount({ user: 'b', secret: 'the other secret' });
  checkChapAccounts({});
  checkChapAccounts({ in: one });
  checkChapAccounts({ in: one, out: other });
  expect(() => {
    checkChapAccounts({ out: other });
  }).toThrow('proves itself only to');
  expect(() => {
    checkChapAccounts({ in: one, out: { ...one, user: 'b' } });
  }).toThrow('are the same');
});
