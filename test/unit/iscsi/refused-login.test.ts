import { describe, expect, it } from 'vitest';
import { LoginWorld, targetName } from '../../support/login-world.ts';

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
