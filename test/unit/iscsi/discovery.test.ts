/** SendTargets, RFC 7143 appendix C, and text exchanges in full feature phase, sections 11.10 and 11.11. */
import { describe, expect, it } from 'vitest';
import { formatTargetAddress, sendTargets } from '../../../src/iscsi/discovery.ts';
import { textMaxBytes } from '../../../src/iscsi/limits.ts';
import { defaultParameters } from '../../../src/iscsi/parameters.ts';
import { noTag } from '../../../src/iscsi/pdu/header.ts';
import type { TextRequest } from '../../../src/iscsi/pdu/text-request.ts';
import { type TextAnswer, TextExchange } from '../../../src/iscsi/text-exchange.ts';
import {
  initiatorName,
  MemoryHosts,
  targetName,
  textBytes,
  textKeys,
} from '../../support/login-world.ts';

const initiator = { name: initiatorName, address: '192.0.2.1' };
const otherName = 'iqn.2026-11.org.tidemark:pool-0002';

function hostsWithTwo(): MemoryHosts {
  const hosts = new MemoryHosts();
  hosts.entries.push({
    name: otherName,
    portals: [{ address: '192.0.2.9', port: 3260, group: 3 }],
  });
  return hosts;
}

function lines(value: string, ownName: string, hosts = hostsWithTwo()): string[] {
  const asker = { initiator, targetName: ownName };
  return sendTargets(value, asker, hosts).map((pair) => `${pair.key}=${pair.value}`);
}

const one = [
  `TargetName=${targetName}`,
  'TargetAddress=127.0.0.1:3260,1',
  'TargetAddress=[::1]:3261,2',
];
const other = [`TargetName=${otherName}`, 'TargetAddress=192.0.2.9:3260,3'];
const rejected = ['SendTargets=Reject'];

describe('SendTargets', () => {
  it('in a discovery session: all, or one by name', () => {
    expect(lines('All', '')).toEqual([...one, ...other]);
    expect(lines(otherName, '')).toEqual(other);
    expect(lines(otherName.toUpperCase(), '')).toEqual(other);
  });

  it('in a discovery session: nothing of what the initiator may not see, and no empty question', () => {
    expect(lines('iqn.2026-11.org.tidemark:hidden', '')).toEqual([]);
    expect(lines('All', '', Object.assign(new MemoryHosts(), { entries: [] }))).toEqual([]);
    expect(lines('', '')).toEqual(rejected);
  });

  it('in a normal session: its own target and nothing else', () => {
    for (const value of ['All', '', targetName]) expect(lines(value, targetName)).toEqual(one);
    expect(lines(otherName, targetName)).toEqual(rejected);
  });

  it('in the wrong case it returns no target', () => {
    for (const value of ['all', 'ALL', 'aLL']) {
      expect(lines(value, targetName)).toEqual(rejected);
      expect(lines(value, '')).toEqual([]);
    }
  });

  it('asks the hosts on behalf of this initiator', () => {
    const hosts = hostsWithTwo();
    lines('All', '', hosts);
    expect(hosts.asked).toEqual([initiator]);
  });

  it('addresses of IPv6 are in brackets', () => {
    expect(formatTargetAddress({ address: 'fe80::1', port: 860, group: 65_535 })).toBe(
      '[fe80::1]:860,65535',
    );
    expect(formatTargetAddress({ address: 'san.example', port: 3260, group: 1 })).toBe(
      'san.example:3260,1',
    );
  });
});

function request(change: Partial<TextRequest> = {}): TextRequest {
  return {
    isImmediate: false,
    isFinal: true,
    isContinued: false,
    initiatorTaskTag: 9,
    targetTransferTag: noTag,
    cmdSn: 1,
    expStatSn: 1,
    ...change,
  };
}

class Asker {
  readonly parameters = defaultParameters();
  readonly exchange: TextExchange;

  constructor(hosts = hostsWithTwo(), ownName = '') {
    const asker = { initiator, targetName: ownName };
    this.exchange = new TextExchange({ asker, hosts, parameters: this.parameters });
  }

  ask(
    keys: Readonly<Record<string, string>> | Uint8Array,
    change: Partial<TextRequest> = {},
  ): TextAnswer {
    const answer = this.tell(keys, change);
    if (typeof answer === 'string') throw new Error(answer);
    return answer;
  }

  tell(
    keys: Readonly<Record<string, string>> | Uint8Array,
    change: Partial<TextRequest> = {},
  ): TextAnswer | string {
    return this.exchange.onRequest(
      request(change),
      keys instanceof Uint8Array ? keys : textBytes(keys),
    );
  }
}

const nothing = Buffer.alloc(0);

describe('text exchange', () => {
  it('of one PDU each way', () => {
    const answer = new Asker().ask({ SendTargets: 'All' });
    expect(answer).toMatchObject({ isFinal: true, isContinued: false, targetTransferTag: noTag });
    expect(Buffer.from(answer.data).toString()).toBe(
      [...one, ...other].map((line) => `${line}\0`).join(''),
    );
  });

  it('unknown keys are not understood, in either case of letters', () => {
    const answer = new Asker().ask({ sendtargets: 'All', 'X-com.example': '1' });
    expect(textKeys(answer.data)).toEqual({
      sendtargets: 'NotUnderstood',
      'X-com.example': 'NotUnderstood',
    });
  });

  it('a new MaxRecvDataSegmentLength holds from now on', () => {
    const asker = new Asker(hostsWithTwo(), targetName);
    expect(asker.ask({ MaxRecvDataSegmentLength: '65536', MaxBurstLength: '512' }).data).toEqual(
      new Uint8Array(textBytes({ MaxBurstLength: 'Reject' })),
    );
    expect(asker.parameters.initiatorMaxRecvDataSegmentLength).toBe(65_536);
  });

  it('a long answer is fetched piece by piece with the tag', () => {
    const hosts = new MemoryHosts();
    hosts.entries = Array.from({ length: 500 }, (_, index) => ({
      name: `iqn.2026-11.org.tidemark:target-${index}`,
      portals: [{ address: '192.0.2.9', port: 3260, group: 1 }],
    }));
    const asker = new Asker(hosts);
    asker.parameters.initiatorMaxRecvDataSegmentLength = 1000;
    const pieces: Buffer[] = [];
    let answer = asker.ask({ SendTargets: 'All' });
    const tag = answer.targetTransferTag;
    expect(tag).not.toBe(noTag);
    while (answer.isContinued) {
      expect(answer).toMatchObject({ isFinal: false, targetTransferTag: tag });
      expect(answer.data).toHaveLength(1000);
      pieces.push(Buffer.from(answer.data));
      answer = asker.ask(nothing, { targetTransferTag: tag });
    }
    pieces.push(Buffer.from(answer.data));
    expect(answer).toMatchObject({ isFinal: true, targetTransferTag: noTag });
    const text = Buffer.concat(pieces).toString();
    expect(text.match(/TargetName=/g)).toHaveLength(500);
    expect(text.endsWith('TargetAddress=192.0.2.9:3260,1\0')).toBe(true);
    expect(asker.tell(nothing, { targetTransferTag: tag })).toContain('no exchange');
  });

  it('a question in pieces gets empty answers until it is whole', () => {
    const asker = new Asker();
    const text = textBytes({ SendTargets: otherName });
    const first = asker.ask(text.subarray(0, 5), { isFinal: false, isContinued: true });
    expect(first).toMatchObject({ isFinal: false, isContinued: false });
    expect(first.data).toHaveLength(0);
    const { targetTransferTag } = first;
    expect(targetTransferTag).not.toBe(noTag);
    const answer = asker.ask(text.subarray(5), { targetTransferTag });
    expect(textKeys(answer.data)['TargetName']).toBe(otherName);
  });

  it('an initiator that has more to say gets a tag to say it with', () => {
    const asker = new Asker();
    const first = asker.ask({ A: '1' }, { isFinal: false });
    expect(first.isFinal).toBe(false);
    const { targetTransferTag } = first;
    expect(asker.tell({ A: '1' }, { targetTransferTag })).toContain('twice');
    // The breach ended the exchange.
    expect(asker.tell({ B: '1' }, { targetTransferTag })).toContain('no exchange');
  });

  it('a request without tag begins anew', () => {
    const asker = new Asker();
    asker.ask(Buffer.from('SendTar'), { isFinal: false, isContinued: true });
    expect(textKeys(asker.ask({ A: '1' }).data)).toEqual({ A: 'NotUnderstood' });
    expect(textKeys(asker.ask({ A: '1' }).data)).toEqual({ A: 'NotUnderstood' });
  });

  it('is rejected when it is longer than 64 KiB, or no text, or names a foreign task', () => {
    const asker = new Asker();
    const half = Buffer.alloc(textMaxBytes / 2, 'x');
    const more = { isFinal: false, isContinued: true };
    const { targetTransferTag } = asker.ask(half, more);
    asker.ask(half, { ...more, targetTransferTag });
    expect(asker.tell(Buffer.from('x'), { targetTransferTag })).toBe('text too long');
    expect(asker.tell(Buffer.from('nonsense\0'))).toBe('text without =');
    const again = asker.ask(half, more);
    const foreign = { targetTransferTag: again.targetTransferTag, initiatorTaskTag: 10 };
    expect(asker.tell(nothing, foreign)).toContain('no exchange');
  });

  it('text before the rest of the answer was fetched is rejected', () => {
    const asker = new Asker();
    asker.parameters.initiatorMaxRecvDataSegmentLength = 512;
    const keys = Object.fromEntries(Array.from({ length: 99 }, (_, index) => [`K${index}`, '1']));
    const { targetTransferTag } = asker.ask(keys);
    expect(asker.tell({ More: '1' }, { targetTransferTag })).toContain('before the rest');
  });
});
