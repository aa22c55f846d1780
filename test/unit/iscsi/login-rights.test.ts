/** Who a login is for, and whether what it had proven is still enough when it ends. */
import { describe, expect, it } from 'vitest';
import {
  Flags,
  initiatorName,
  LoginWorld,
  targetName,
  whoKeys,
} from '../../support/login-world.ts';

describe('a login', () => {
  it('is judged again at its end: rights that were taken away meanwhile are gone', () => {
    const world = new LoginWorld();
    const [banned, unproven] = [world.connect(), world.connect()];
    for (const peer of [banned, unproven]) peer.ask(whoKeys, { flags: Flags.operational });
    world.hosts.chap = { userName: 'u', secret: Uint8Array.of(1, 2, 3) };
    expect(unproven.ask({}).status).toBe(0x0201);
    expect(unproven.outcome).toBeUndefined();
    world.hosts.chap = undefined;
    world.hosts.access = () => ({ kind: 'forbidden', reason: 'banned' });
    expect(banned.ask({}).status).toBe(0x0202);
    expect(banned.outcome).toBeUndefined();
  });

  it('takes no name with a comma, which ends names in what is kept of reservations', () => {
    const peer = new LoginWorld().connect();
    const response = peer.ask({ InitiatorName: `${initiatorName},i`, TargetName: targetName });
    expect(response.status).toBe(0x0200);
  });
});
