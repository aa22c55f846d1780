/** Manifests in which damage has made anything of any value: they are read for what they are, or refused. */
import Database from 'better-sqlite3';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unlimitedCdp } from '../../src/base/cdp-policy.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import { positionOf } from '../../src/volume/format/address.ts';
import type { SegmentRow } from '../../src/volume/format/segment-rows.ts';
import { isOfHistory, Manifest, readKnownLog } from '../../src/volume/recovery/manifest.ts';
import { decodeNote, encodeNote } from '../../src/volume/scrub/note.ts';
import { finish } from '../../src/volume/steps.ts';

const poolUuid = new Uint8Array(16).fill(7);
const runs = { numRuns: 400 } as const;

function uuidOf(value: number): Uint8Array {
  return new Uint8Array(16).fill(value);
}

function rowOf(segId: number): SegmentRow {
  return {
    segId,
    epoch: 1,
    hlcMs: 1000 * segId,
    endSlot: 64,
    entryCount: 9,
    tag: new Uint8Array(8).fill(segId),
    previousSegId: segId - 1,
    previousTag: new Uint8Array(8).fill(segId - 1),
  };
}

/** A manifest with something in every table, as bytes of its file. */
function made(): Buffer {
  const database = new Database(':memory:');
  const manifest = new Manifest(database, poolUuid);
  const volume = {
    kind: 'vol-create' as const,
    uuid: uuidOf(1),
    line: 1,
    name: 'v',
    sizeBytes: 2 ** 20,
    naa: uuidOf(2),
    serial: 'serial',
    ack: AckMode.durable,
    createdMs: 5,
    policy: unlimitedCdp,
  };
  const records = [
    { kind: 'epoch' as const, epoch: 1, nodeUuid: uuidOf(3), openId: uuidOf(4), startPosition: 0 },
    volume,
    {
      kind: 'snap' as const,
      line: 1,
      volumeUuid: uuidOf(1),
      uuid: uuidOf(5),
      name: 's',
      createdMs: 6,
    },
    { kind: 'pin' as const, timeMs: 7, lines: [1] },
    { kind: 'horizon' as const, moves: [{ line: 1, position: 9, timeMs: 8, reason: 0 as const }] },
  ];
  manifest.apply(
    records.map((record, index) => ({ record, position: positionOf(8193 + index, 0) })),
    [rowOf(1), rowOf(2)],
  );
  manifest.addRun({
    level: 1,
    firstSegId: 0,
    positionLow: 1,
    positionHigh: 2,
    bytes: 3,
    entryCount: 4,
    digest: uuidOf(6),
  });
  manifest.keepScrubNote('{}');
  database
    .prepare('INSERT INTO meta VALUES (?, ?)')
    .run('checkpointPosition', String(positionOf(8193, 0)));
  const bytes = database.serialize();
  manifest.close();
  return bytes;
}

/** Everything that anybody asks of a manifest; only what SQLite says may be thrown. */
function askAll(open: () => Database.Database): void {
  let manifest: Manifest | undefined;
  try {
    const known = finish(
      readKnownLog(open, 'any', {
        poolUuid,
        segmentSlots: 64,
        packed: { find: () => undefined },
      }),
    );
    for (const segment of known?.segments.values() ?? []) expect(segment.segId).toBeGreaterThan(0);
    manifest = new Manifest(open(), poolUuid);
    for (const { level, firstSegId } of manifest.runs()) {
      expect(Number.isInteger(level) && Number.isInteger(firstSegId)).toBe(true);
    }
    isOfHistory(manifest.epochs(), []);
    decodeNote(manifest.scrubNote);
    expect(typeof manifest.appliedPosition).toBe('number');
    manifest.contents();
    manifest.cutSegments(2);
    manifest.apply([], [rowOf(2)]);
    manifest.reset(poolUuid);
    expect(manifest.appliedPosition).toBe(0);
  } catch (thrown) {
    if (!(thrown instanceof Database.SqliteError)) throw thrown;
  } finally {
    manifest?.close();
  }
}

describe('a manifest', () => {
  const bytes = made();
  const columns = (() => {
    const database = new Database(bytes);
    const tables = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
      .pluck()
      .all();
    const found = tables.flatMap((table) =>
      database
        .prepare(`SELECT name FROM pragma_table_info('${String(table)}')`)
        .pluck()
        .all()
        .map((column) => [String(table), String(column)] as const),
    );
    database.close();
    return found;
  })();

  it('with any value in any place names no run and no segment that cannot be', () => {
    const value = fc.oneof(
      fc.constant(null),
      fc.integer(),
      fc.double(),
      fc.string({ maxLength: 40 }),
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom('-1', '1e300', '9007199254740993', 'NaN', '{"version":1}'),
    );
    const edits = fc.array(fc.tuple(fc.constantFrom(...columns), value), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(edits, (list) => {
        const damaged = new Database(bytes);
        // What SQLite would not take, damage can make of a page all the same.
        damaged.unsafeMode(true);
        damaged.pragma('writable_schema = ON');
        damaged.exec("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')");
        const loose = damaged.serialize();
        damaged.close();
        const edited = new Database(loose);
        edited.pragma('ignore_check_constraints = ON');
        for (const [[table, column], change] of list) {
          try {
            edited.prepare(`UPDATE OR REPLACE "${table}" SET "${column}" = ?`).run(change);
          } catch (thrown) {
            if (!(thrown instanceof Database.SqliteError)) throw thrown;
          }
        }
        const result = edited.serialize();
        edited.close();
        askAll(() => new Database(result));
      }),
      runs,
    );
  });

  it('in which any bytes were changed is read or refused by SQLite', () => {
    const change = fc.tuple(
      fc.integer({ min: 0, max: bytes.length - 1 }),
      fc.integer({ min: 0, max: 255 }),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (list) => {
        const damaged = Buffer.from(bytes);
        for (const [place, byte] of list) damaged[place] = byte;
        askAll(() => new Database(damaged));
      }),
      runs,
    );
  });
});

describe("the scrubber's note", () => {
  const pass = {
    startedMs: 1,
    finishedMs: 2,
    blocksChecked: 3,
    findingCount: 4,
    isManifestChecked: true,
  };
  const note = {
    isPaused: false,
    bytesPerSecond: 1,
    passStartedMs: 2,
    segId: 3,
    blocksChecked: 4,
    lastPass: pass,
  };

  it('is given back, and is none when any field of it is something else', () => {
    expect(decodeNote(encodeNote(note))).toMatchObject(note);
    const field = fc.constantFrom('version', ...Object.keys(note));
    const value = fc.oneof(
      fc.constant(null),
      fc.string(),
      fc.constantFrom(-1, Number.POSITIVE_INFINITY),
      fc.object(),
    );
    fc.assert(
      fc.property(field, value, (name, other) => {
        const text = JSON.stringify({ version: 1, ...note, [name]: other });
        expect(decodeNote(text)).toBeUndefined();
      }),
      runs,
    );
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        expect(decodeNote(text)).toBeUndefined();
      }),
      runs,
    );
  });
});
