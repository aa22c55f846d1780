/** Making a run: what goes wrong leaves nothing behind. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeUuid } from '../../../../src/base/uuid.ts';
import { systemRandom } from '../../../../src/host/clock.ts';
import { SystemDisk } from '../../../../src/host/disk.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import { FormatError } from '../../../../src/volume/format/format-error.ts';
import { RunBuilder } from '../../../../src/volume/index/run-builder.ts';
import { segmentBytes } from '../../../../src/volume/index/run-format.ts';
import { runFolder, runPath } from '../../../../src/volume/index/run-path.ts';
import { RunSegments } from '../../../../src/volume/index/run-segments.ts';
import { readRunSegments, readRunTables } from '../../../../src/volume/index/run-tables.ts';
import { RunWriter } from '../../../../src/volume/index/run-writer.ts';
import { Containers } from '../../../../src/volume/pack/containers.ts';

/** Files in the folder that this process has open. */
function openFilesIn(folder: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return targets.filter((target) => target.startsWith(folder));
}

/** A folder for runs, and who makes them. */
function makeWorld(): { folder: string; disk: SystemDisk; seeds: Seeds; builder: RunBuilder } {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-runs-'));
  const disk = new SystemDisk(folder);
  const poolUuid = makeUuid(systemRandom);
  const seeds = new Seeds(poolUuid);
  const containers = new Containers(disk, 64, seeds);
  disk.makeFolder(runFolder);
  const builder = new RunBuilder({ disk, containers, seeds, poolUuid, segmentSlots: 64 });
  return { folder, disk, seeds, builder };
}

it('a run whose input is damaged or another one is not begun, and no file stays open', () => {
  const { folder, builder } = makeWorld();
  try {
    const whole = { level: 1, firstSegId: 0 };
    // A run of no segments is a run.
    const empty = { ...whole, fanOut: 2, segments: [], inputs: [], isRebuild: false };
    const made = builder.step(empty, 100)?.summary;
    expect(made?.entryCount).toBe(0);
    const digest = made?.digest ?? new Uint8Array();
    const damaged = { level: 1, firstSegId: 2 };
    writeFileSync(join(folder, runFolder, '1-00000002.run'), new Uint8Array(8192));
    const plan = {
      ...empty,
      level: 2,
      inputs: [whole, damaged].map((each) => ({ ...each, digest })),
    };
    expect(() => builder.step(plan, 100)).toThrow(FormatError);
    // Whole, but not the run that was looked at.
    const other = { ...plan, inputs: [{ ...whole, digest: digest.map((byte) => byte ^ 1) }] };
    expect(() => builder.step(other, 100)).toThrow(/not the one/);
    expect(openFilesIn(folder)).toEqual([]);
    expect(readdirSync(join(folder, runFolder)).sort()).toEqual([
      '1-00000000.run',
      '1-00000002.run',
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it('runs of more segments than a call can have arguments are merged', () => {
  const { folder, disk, seeds, builder } = makeWorld();
  try {
    const segmentCount = 600_000;
    const listed = new Uint8Array(segmentCount * segmentBytes);
    for (let at = 0; at < listed.length; at += 1) listed[at] = at % 251;
    const place = { level: 7, firstSegId: 0 };
    const segments = new RunSegments(listed);
    const shape = { ...place, fanOut: 8, endSegId: 8 ** 7, segments, baseTicks: 0 };
    const file = disk.open(runPath(place), { create: true });
    const { digest } = new RunWriter(file, shape, seeds).finish(new Uint8Array(16));
    file.close();
    const inputs = [{ ...place, digest }];
    const plan = { level: 8, firstSegId: 0, fanOut: 8, segments: [], inputs, isRebuild: false };
    const made = builder.step(plan, 100)?.summary ?? place;
    const merged = disk.open(runPath(made), { create: false });
    const tables = readRunTables(merged, made, seeds);
    const found = readRunSegments(merged, tables, seeds);
    merged.close();
    expect(tables.header.segmentCount).toBe(segmentCount);
    expect(Buffer.compare(found.bytes, listed)).toBe(0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
