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
import { runFolder } from '../../../../src/volume/index/run-path.ts';
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

it('a run whose input is damaged is not begun, and no file stays open', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-runs-'));
  try {
    const disk = new SystemDisk(folder);
    const poolUuid = makeUuid(systemRandom);
    const seeds = new Seeds(poolUuid);
    const containers = new Containers(disk, 64, seeds);
    const builder = new RunBuilder({ disk, containers, seeds, poolUuid, segmentSlots: 64 });
    disk.makeFolder(runFolder);
    const whole = { level: 1, firstSegId: 0 };
    // A run of no segments is a run.
    const empty = { ...whole, fanOut: 2, segments: [], inputs: [], isRebuild: false };
    expect(builder.step(empty, 100)?.summary.entryCount).toBe(0);
    const damaged = { level: 1, firstSegId: 2 };
    writeFileSync(join(folder, runFolder, '1-00000002.run'), new Uint8Array(8192));
    const plan = { ...empty, level: 2, inputs: [whole, damaged] };
    expect(() => builder.step(plan, 100)).toThrow(FormatError);
    expect(openFilesIn(folder)).toEqual([]);
    expect(readdirSync(join(folder, runFolder)).sort()).toEqual([
      '1-00000000.run',
      '1-00000002.run',
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
