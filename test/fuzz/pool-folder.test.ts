/**
 * Damage anywhere in the folder of a pool: bytes of every kind of file are flipped, pages lost, and the pool is opened. What it
 * then shows is what was written, or an error; and what is not shown any more is named by verify, or keeps the pool read-only or
 * shut.
 */
import {
  closeSync,
  cpSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import { OperationError } from '../../src/base/errors.ts';
import { type BlockDevice, IoKind, IoStatus } from '../../src/device/block-device.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { SeededRandom } from '../sim/random.ts';
import { inlineHost } from '../support/inline-host.ts';
import {
  ask,
  blockBytes,
  close,
  create,
  openOn,
  snapshot,
  submit,
  write,
} from '../unit/volume/pool-world.ts';

const rounds = 30;
const blocks = 256;
const volumes = ['a', 'b'] as const;
const snapshotName = 'then';

/** Stamps by volume or snapshot: what each block says. */
type Contents = ReadonlyMap<string, readonly number[]>;

/** One place of one file that is another than before. */
interface Damage {
  readonly file: string;
  readonly position: number;
  readonly kind: 'bit' | 'byte' | 'sector' | 'page';
}

let pristine = '';
let written: Contents;

/** Each block of a volume is filled with a number of its own. */
function blockOf(stamp: number): Uint8Array {
  const bytes = new Uint8Array(blockBytes);
  if (stamp > 0) new Uint32Array(bytes.buffer).fill(stamp);
  return bytes;
}

beforeAll(async () => {
  pristine = mkdtempSync(join(tmpdir(), 'tidemark-pristine-'));
  written = await makePool();
}, 120_000);

afterAll(() => {
  rmSync(pristine, { recursive: true, force: true });
});

/** A pool with packs, runs, a checkpoint, windows, trims and a snapshot, closed in order. */
async function makePool(): Promise<Contents> {
  const random = new SeededRandom(7);
  const host = inlineHost(pristine);
  const { pool } = await openOn(host, pristine, { checkpointBytesMax: 2 ** 20 });
  const stamps = new Map<string, number[]>();
  for (const name of volumes) {
    await create(pool, name, blocks);
    stamps.set(
      name,
      Array.from({ length: blocks }, () => 0),
    );
    const policy = parseCdpPolicy('all:0');
    if (policy === undefined) throw new Error('no policy');
    await ask<unknown>((done) => {
      pool.retention.setPolicy({ volume: name, policy }, done);
    });
  }
  let stamp = 0;
  const writeSome = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 1) {
      const name = random.pick(volumes);
      const first = random.below(blocks - 12);
      const length = random.between(1, 12);
      const now = stamps.get(name);
      const device = pool.volumeOpen(name);
      const isTrim = random.chance(0.1);
      stamp += 1;
      if (isTrim) {
        const place = { offset: first * blockBytes, length: length * blockBytes };
        await submit(device, { kind: IoKind.trim, ...place });
      } else {
        const bytes = Buffer.concat(Array.from({ length }, () => blockOf(stamp)));
        expect(await write(pool, device, first * blockBytes, bytes)).toBe(IoStatus.ok);
      }
      now?.fill(isTrim ? 0 : stamp, first, first + length);
    }
  };
  await writeSome(120);
  for (const name of volumes) {
    (await snapshot(pool, name, snapshotName)).close();
    stamps.set(`${name}@${snapshotName}`, [...(stamps.get(name) ?? [])]);
  }
  await writeSome(120);
  for (let pass = 0; pass < 2; pass += 1) {
    pool.retention.moveWindows();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await ask<unknown>((done) => {
    pool.cleaner.run(() => undefined, done);
  });
  await writeSome(60);
  await close(pool);
  host.abandon();
  return stamps;
}

function filesOf(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const name = join(below, entry.name);
    return entry.isDirectory() ? filesOf(folder, name) : [name];
  });
}

/** Files of each kind as often as those of others. */
function anyDamage(folder: string, random: SeededRandom): Damage {
  const kinds = ['superblock', 'segments/', 'packs/', 'runs/', 'manifest.db'];
  const files = filesOf(folder).filter((name) => statSync(join(folder, name)).size > 0);
  const kind = random.pick(kinds.filter((each) => files.some((name) => name.startsWith(each))));
  const file = random.pick(files.filter((name) => name.startsWith(kind)));
  const { size } = statSync(join(folder, file));
  // Structures are at the ends of files, and small.
  const near = random.pick([64, 512, 8192, size]);
  const within = random.below(Math.min(near, size));
  const position = random.chance(0.5) ? within : size - 1 - within;
  return { file, position, kind: random.pick(['bit', 'byte', 'byte', 'sector', 'page']) };
}

function damage(folder: string, { file, position, kind }: Damage, random: SeededRandom): void {
  const length = { bit: 1, byte: 1, sector: 512, page: blockBytes }[kind];
  const from = position - (position % length);
  const handle = openSync(join(folder, file), 'r+');
  const bytes = new Uint8Array(length);
  const count = readSync(handle, bytes, 0, length, from);
  if (kind === 'bit') bytes[0] = (bytes[0] ?? 0) ^ (1 << random.below(8));
  else if (kind === 'byte') bytes[0] = (bytes[0] ?? 0) ^ random.between(1, 255);
  else bytes.fill(0);
  writeSync(handle, bytes, 0, count, from);
  fsyncSync(handle);
  closeSync(handle);
}

/** Blocks that answer with an error; all others must say what was written. */
async function errorsOf(device: BlockDevice, stamps: readonly number[]): Promise<number> {
  let errors = 0;
  for (let block = 0; block < blocks; block += 1) {
    const target = new Uint8Array(blockBytes);
    const request = { kind: IoKind.read, offset: block * blockBytes, length: blockBytes, target };
    const { status, isHole } = await submit(device, request);
    if (status === IoStatus.ioError) errors += 1;
    else {
      expect(status).toBe(IoStatus.ok);
      const found = isHole ? new Uint8Array(blockBytes) : target;
      if (Buffer.compare(found, blockOf(stamps[block] ?? 0)) !== 0) {
        throw new Error(`block ${block} says ${new Uint32Array(found.buffer)[0]}`);
      }
    }
  }
  return errors;
}

/** The same of a snapshot; of one that cannot be opened it is all of them. */
async function errorsOfSnapshot(
  pool: Pool,
  { volume, at }: { readonly volume: string; readonly at: string },
  stamps: Parameters<typeof errorsOf>[1],
): Promise<number> {
  try {
    const opened = await ask<{ device: BlockDevice; close: () => void }>((done) => {
      pool.snapshotOpen(volume, at, done);
    });
    const errors = await errorsOf(opened.device, stamps);
    opened.close();
    return errors;
  } catch (thrown) {
    if (!(thrown instanceof OperationError)) throw thrown;
    return blocks;
  }
}

/** How many blocks of heads and snapshots cannot be read. Throws when one reads as what it is not. */
async function unreadable(pool: Pool): Promise<number> {
  let errors = 0;
  for (const [name, stamps] of written) {
    const [volume = '', at] = name.split('@');
    errors +=
      at === undefined
        ? await errorsOf(pool.volumeOpen(volume), stamps)
        : await errorsOfSnapshot(pool, { volume, at }, stamps);
  }
  return errors;
}

async function faultsOf(pool: Pool): Promise<readonly string[]> {
  return await new Promise((resolve) => {
    pool.verify(
      () => undefined,
      ({ faults }) => {
        resolve(faults);
      },
    );
  });
}

/** What became of a damaged pool. */
async function outcomeOf(folder: string): Promise<'shut' | 'read-only' | 'named' | 'harmless'> {
  const host = inlineHost(folder);
  try {
    const { pool } = await openOn(host, folder, {});
    // Nobody knows what is missing: it is shown under another name only, as what it is.
    if (pool.isIncomplete) {
      expect(pool.readOnlyReason).toBeDefined();
      await close(pool);
      return 'read-only';
    }
    const errors = await unreadable(pool);
    const faults = await faultsOf(pool);
    // Verify looks at what is there; reading must say the same behind it.
    expect(await unreadable(pool)).toBe(errors);
    const { readOnlyReason } = pool;
    await close(pool);
    if (readOnlyReason !== undefined) return 'read-only';
    if (errors > 0) expect(faults).not.toEqual([]);
    return faults.length > 0 ? 'named' : 'harmless';
  } catch (thrown) {
    if (!(thrown instanceof OperationError)) throw thrown;
    expect(thrown.message).toContain('cannot be opened');
    return 'shut';
  } finally {
    host.abandon();
  }
}

describe('a pool with damage anywhere', () => {
  it('has everything in it that can be damaged', () => {
    const files = filesOf(pristine);
    for (const kind of ['superblock', 'segments/', 'packs/', 'runs/', 'manifest.db']) {
      expect(files.some((name) => name.startsWith(kind))).toBe(true);
    }
  });

  it('shows what was written or an error, and names what it does not show', async () => {
    const counts = new Map<string, number>();
    for (let round = 1; round <= rounds; round += 1) {
      const random = new SeededRandom(round);
      const folder = mkdtempSync(join(tmpdir(), 'tidemark-damaged-'));
      cpSync(pristine, folder, { recursive: true });
      const places = Array.from({ length: random.pick([1, 1, 1, 2, 5]) }, () =>
        anyDamage(folder, random),
      );
      for (const place of places) damage(folder, place, random);
      const what = places.map((place) => `${place.kind} at ${place.position} of ${place.file}`);
      const outcome = await outcomeOf(folder).catch((thrown: unknown) => {
        throw new Error(`round ${round}, ${what.join(', ')}: ${String(thrown)}`, { cause: thrown });
      });
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
      rmSync(folder, { recursive: true, force: true });
    }
    expect(counts.get('named')).toBeGreaterThan(rounds / 10);
    expect(counts.get('harmless')).toBeGreaterThan(rounds / 10);
  }, 300_000);
});
