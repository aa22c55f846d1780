/** Exports with a dirty bitmap: how its context is listed and selected, and what BLOCK_STATUS says in it. */
import { describe, expect, it } from 'vitest';
import type { NbdDirtyBitmap } from '../../../src/nbd/exports.ts';
import { infoData, metaData, type NbdClient } from '../../support/nbd-client.ts';
import { NbdWorld } from '../../support/nbd-world.ts';

const sizeBytes = 16 << 20;
const bitmapContext = 'qemu:dirty-bitmap:monday';
const allocationContext = 'base:allocation';
const metaReply = 4;
const ack = 1;
const listContexts = 9;
const setContexts = 10;
const blockStatus = 7;
const blockStatusChunk = 5;
const onlyOne = 1 << 3;

/** Every second stretch of `stretch` bytes has changed; a call tells of at most `perCall` bytes. */
function stripes(stretch: number, perCall = sizeBytes): NbdDirtyBitmap {
  return {
    name: 'monday',
    runs: ({ offset, length }, runsMax, done) => {
      const runs: { length: number; isChanged: boolean }[] = [];
      const end = Math.min(offset + length, offset + perCall, sizeBytes);
      let at = offset;
      while (at < end && runs.length < runsMax) {
        const index = Math.floor(at / stretch);
        const next = Math.min(end, (index + 1) * stretch);
        runs.push({ length: next - at, isChanged: index % 2 === 1 });
        at = next;
      }
      done(runs);
    },
  };
}

function worldWith(bitmap: NbdDirtyBitmap): NbdWorld {
  const world = new NbdWorld({ sizeBytes });
  world.addDevice('snap', sizeBytes, true);
  world.exports.bitmaps.set('snap', bitmap);
  return world;
}

/** Names and ids of the contexts that an option is answered with. */
function contextsOf(
  client: NbdClient,
  option: number,
  queries: readonly string[],
  name = 'snap',
): [string, number][] {
  const answers = client.ask(option, metaData(name, queries));
  expect(answers.at(-1)?.type).toBe(ack);
  return answers.slice(0, -1).map(({ type, data }) => {
    expect(type).toBe(metaReply);
    return [data.toString('utf8', 4), data.readUInt32BE(0)];
  });
}

function structured(world: NbdWorld): NbdClient {
  const client = world.connect();
  client.greet();
  client.ask(8);
  return client;
}

/** A client in transmission with these contexts. */
function opened(world: NbdWorld, contexts: readonly string[]): NbdClient {
  const client = structured(world);
  contextsOf(client, setContexts, contexts);
  expect(client.ask(7, infoData('snap')).at(-1)?.type).toBe(ack);
  return client;
}

interface Status {
  readonly context: number;
  readonly runs: readonly (readonly [number, number])[];
}

function statusOf(client: NbdClient, offset: number, length: number, flags = 0): Status[] {
  client.request({ command: blockStatus, offset, length, flags });
  return client.chunks().map(({ type, payload }) => {
    expect(type).toBe(blockStatusChunk);
    const runs = Array.from({ length: (payload.length - 4) / 8 }, (_, index): [number, number] => [
      payload.readUInt32BE(4 + index * 8),
      payload.readUInt32BE(8 + index * 8),
    ]);
    return { context: payload.readUInt32BE(0), runs };
  });
}

function covered({ runs }: Status): number {
  return runs.reduce((sum, [length]) => sum + length, 0);
}

describe('the context of a dirty bitmap', () => {
  it.each([
    [[], [allocationContext, bitmapContext]],
    [['base:'], [allocationContext]],
    [['qemu:'], [bitmapContext]],
    [['qemu:dirty-bitmap:'], [bitmapContext]],
    [['qemu:dirty-bitmap:tuesday'], []],
    [['qemu:allocation-depth'], []],
    [
      ['base:', bitmapContext],
      [allocationContext, bitmapContext],
    ],
  ])('is listed for %j', (queries, expected) => {
    const client = structured(worldWith(stripes(4096)));
    const listed = contextsOf(client, listContexts, queries);
    expect(listed).toEqual(expected.map((name) => [name, 0]));
  });

  it('is not there on other exports', () => {
    const client = structured(worldWith(stripes(4096)));
    expect(contextsOf(client, listContexts, [], 'disk')).toEqual([[allocationContext, 0]]);
    expect(contextsOf(client, setContexts, [bitmapContext], 'disk')).toEqual([]);
  });

  it('is selected by its whole name only', () => {
    const client = structured(worldWith(stripes(4096)));
    expect(contextsOf(client, setContexts, ['qemu:', 'qemu:dirty-bitmap:'])).toEqual([]);
    const both = contextsOf(client, setContexts, [bitmapContext, allocationContext]);
    expect(both.map(([name]) => name).toSorted()).toEqual([allocationContext, bitmapContext]);
    expect(new Set(both.map(([, id]) => id)).size).toBe(2);
  });

  it('is gone when GO names another export than SET did', () => {
    const client = structured(worldWith(stripes(4096)));
    contextsOf(client, setContexts, [bitmapContext]);
    expect(client.ask(7, infoData('disk')).at(-1)?.type).toBe(ack);
    client.request({ command: blockStatus, offset: 0, length: 4096 });
    expect(client.chunk().type & 0x8000).not.toBe(0);
  });
});

describe('block status with a dirty bitmap', () => {
  it('answers one chunk for each context, all of the same length', () => {
    const client = opened(worldWith(stripes(65_536)), [allocationContext, bitmapContext]);
    const answers = statusOf(client, 65_536, 200_000);
    expect(answers.map(({ context }) => context)).toEqual([1, 2]);
    const [allocation, dirty] = answers as [Status, Status];
    expect(dirty.runs).toEqual([
      [65_536, 1],
      [65_536, 0],
      [65_536, 1],
      [200_000 - 3 * 65_536, 0],
    ]);
    expect(allocation.runs).toEqual([[200_000, 3]]);
  });

  it('answers alone when only it was selected', () => {
    const client = opened(worldWith(stripes(65_536)), [bitmapContext]);
    expect(statusOf(client, 0, 65_536)).toEqual([{ context: 2, runs: [[65_536, 0]] }]);
  });

  it('tells of no more in one context than in the other', () => {
    const client = opened(worldWith(stripes(4096, 1 << 20)), [allocationContext, bitmapContext]);
    const answers = statusOf(client, 0, sizeBytes);
    expect(answers.map(covered)).toEqual([1 << 20, 1 << 20]);
    const one = statusOf(client, 0, sizeBytes, onlyOne);
    expect(one.map(({ runs }) => runs.length)).toEqual([1, 1]);
    expect(one.map(covered)).toEqual([4096, 4096]);
  });

  it('never goes beyond the request or the end', () => {
    const client = opened(worldWith(stripes(65_536)), [allocationContext, bitmapContext]);
    expect(statusOf(client, 100, 50).map(covered)).toEqual([50, 50]);
    const last = sizeBytes - 4096;
    expect(statusOf(client, last, 2 ** 32 - 4096).map(covered)).toEqual([4096, 4096]);
  });

  it('covers the whole export when it is asked on and on', () => {
    const client = opened(worldWith(stripes(8192, 3 << 20)), [bitmapContext, allocationContext]);
    let offset = 0;
    let dirtyBytes = 0;
    while (offset < sizeBytes) {
      const answers = statusOf(client, offset, sizeBytes - offset);
      const lengths = new Set(answers.map(covered));
      expect(lengths.size).toBe(1);
      const dirty = answers.find(({ context }) => context === 2);
      for (const [length, status] of dirty?.runs ?? []) dirtyBytes += status * length;
      offset += [...lengths][0] ?? 0;
    }
    expect(offset).toBe(sizeBytes);
    expect(dirtyBytes).toBe(sizeBytes / 2);
  });
});
