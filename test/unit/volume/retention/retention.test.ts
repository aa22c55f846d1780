/** What is kept of which line, as the catalogue and leases say. */
import { expect, test } from 'vitest';
import { Catalogue } from '../../../../src/volume/catalogue/catalogue.ts';
import type { CatalogueRecord } from '../../../../src/volume/catalogue/records.ts';
import { positionOf } from '../../../../src/volume/format/address.ts';
import { retentionOf } from '../../../../src/volume/retention/retention.ts';

const sizeBytes = 64 * 4096;

function id(seed: number): Uint8Array {
  return new Uint8Array(16).fill(seed);
}

function identity(
  name: string,
  line: number,
): Omit<Extract<CatalogueRecord, { kind: 'vol-create' }>, 'kind'> {
  return {
    line,
    uuid: id(line),
    name,
    sizeBytes,
    naa: id(line),
    serial: name,
    ack: 0,
    createdMs: 0,
  };
}

/** Position of a catalogue record: each opens a frame. */
function at(frame: number): number {
  return positionOf(frame, 0);
}

function catalogueOf(records: readonly CatalogueRecord[]): Catalogue {
  const catalogue = new Catalogue();
  records.forEach((record, index) => {
    catalogue.apply(record, at((index + 1) * 10));
  });
  return catalogue;
}

function view(
  name: string,
  line: number,
  parentLine: number,
  forkPosition: number,
): CatalogueRecord {
  const from = { parentLine, forkPosition, sourceUuid: id(1), label: 'now' };
  return { kind: 'view', ...identity(name, line), ...from };
}

function revert(line: number, parentLine: number, forkPosition: number): CatalogueRecord {
  const to = { parentLine, forkPosition, sizeBytes, reason: 0 as const, label: 'x', createdMs: 0 };
  return { kind: 'revert', line, uuid: id(1), ...to };
}

test('a volume keeps every state of its line, its snapshots are pins', () => {
  const catalogue = catalogueOf([
    { kind: 'vol-create', ...identity('a', 1) },
    { kind: 'snap', line: 1, volumeUuid: id(1), uuid: id(9), name: 's', createdMs: 0 },
  ]);
  expect(retentionOf(catalogue, [])).toEqual([
    {
      line: 1,
      parentLine: 0,
      forkPosition: 0,
      pins: new Float64Array([at(20)]),
      windowFrom: 0,
      windowTo: Infinity,
    },
  ]);
});

test('a line that was left keeps its states up to there, and is pinned where others began', () => {
  const catalogue = catalogueOf([
    { kind: 'vol-create', ...identity('a', 1) },
    revert(2, 1, 12345),
    view('v', 3, 2, 54321),
  ]);
  expect(retentionOf(catalogue, [])).toEqual([
    {
      line: 1,
      parentLine: 0,
      forkPosition: 0,
      pins: new Float64Array([12345, at(20)]),
      windowFrom: 0,
      windowTo: at(20),
    },
    {
      line: 2,
      parentLine: 1,
      forkPosition: 12345,
      pins: new Float64Array([54321]),
      windowFrom: 0,
      windowTo: Infinity,
    },
    {
      line: 3,
      parentLine: 2,
      forkPosition: 54321,
      pins: new Float64Array([]),
      windowFrom: 0,
      windowTo: Infinity,
    },
  ]);
});

test('of a volume that was deleted only what views began with is kept, through lines in between', () => {
  const catalogue = catalogueOf([
    { kind: 'vol-create', ...identity('a', 1) },
    revert(2, 1, 12345),
    view('v', 3, 2, 54321),
    view('w', 4, 1, 777),
    { kind: 'vol-delete', line: 2, uuid: id(1) },
  ]);
  const none = { windowFrom: 0, windowTo: -1 };
  expect(retentionOf(catalogue, []).slice(0, 2)).toEqual([
    { line: 1, parentLine: 0, forkPosition: 0, pins: new Float64Array([777, 12345]), ...none },
    { line: 2, parentLine: 1, forkPosition: 12345, pins: new Float64Array([54321]), ...none },
  ]);
  catalogue.apply({ kind: 'vol-delete', line: 3, uuid: id(3) }, at(90));
  catalogue.apply({ kind: 'vol-delete', line: 4, uuid: id(4) }, at(91));
  expect(retentionOf(catalogue, [])).toEqual([]);
});

test('a lease is a pin, also on a line of which nothing else is kept', () => {
  const catalogue = catalogueOf([
    { kind: 'vol-create', ...identity('a', 1) },
    revert(2, 1, 12345),
    { kind: 'vol-delete', line: 2, uuid: id(1) },
  ]);
  expect(
    retentionOf(catalogue, [{ line: 2, cut: 40 }]).map(({ line, pins }) => ({ line, pins })),
  ).toEqual([
    { line: 1, pins: new Float64Array([12345]) },
    { line: 2, pins: new Float64Array([40]) },
  ]);
});
