/** A run gets another file while a lookup waits for the disk: blocks of the one are never read with the tables of the other. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SystemDisk } from '../../../../src/host/disk.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import { IndexEntry } from '../../../../src/volume/index/entry.ts';
import { LeafPainter } from '../../../../src/volume/index/leaf-painter.ts';
import { runPath } from '../../../../src/volume/index/run-path.ts';
import { RunReader, RunsChanged } from '../../../../src/volume/index/run-reader.ts';
import { RunSegments } from '../../../../src/volume/index/run-segments.ts';
import { RunWriter } from '../../../../src/volume/index/run-writer.ts';

const seeds = new Seeds(new Uint8Array(16).fill(3));
const place = { level: 1, firstSegId: 2 };
const leaf = 900;

let folder: string;
let disk: SystemDisk;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tidemark-runs-'));
  disk = new SystemDisk(folder);
  disk.makeFolder('runs');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A run with one entry in each of `leaves`: as many blocks lie before the same leaf as there are leaves before it. */
function writeRun(leaves: readonly number[]): void {
  disk.remove(runPath(place));
  const file = disk.open(runPath(place), { create: true });
  const shape = { ...place, fanOut: 2, endSegId: 4, segments: RunSegments.of([]), baseTicks: 0 };
  const writer = new RunWriter(file, shape, seeds);
  leaves.forEach((node) => {
    const entry = new IndexEntry();
    Object.assign(entry, { line: 1, node, blockCount: 1, address: 5 * 8192 + node });
    entry.position = 2 * 8192 * 2048 + node * 2048;
    entry.kind = 4;
    writer.add(entry);
  });
  writer.finish(new Uint8Array(16));
  file.close();
}

type Lookup = ReturnType<RunReader['paint']>;

function readToEnd(steps: Lookup, first: ReturnType<Lookup['next']>): void {
  for (let step = first; step.done !== true; ) {
    step = steps.next(step.value.file.read(step.value.target, step.value.position));
  }
}

it('begins again when a run changed while it was read', () => {
  const few = [leaf];
  const many = Array.from({ length: 1000 }, (_, node) => node);
  const options = { disk, seeds, isOurs: () => true, tableBytes: 2 ** 20, blockBytes: 2 ** 20 };
  const reader = new RunReader({ ...options, openFiles: 1 });
  const painter = new LeafPainter();
  const lookUp = (): Lookup => {
    painter.begin(leaf);
    return reader.paint(place, { line: 1, leaf, before: Number.MAX_SAFE_INTEGER }, painter);
  };
  writeRun(many);
  for (let readsBefore = 0; readsBefore < 3; readsBefore += 1) {
    reader.forget(place);
    const steps = lookUp();
    let step = steps.next();
    for (let count = 0; count < readsBefore; count += 1) {
      if (step.done === true) throw new Error('the lookup reads three times');
      step = steps.next(step.value.file.read(step.value.target, step.value.position));
    }
    writeRun(readsBefore % 2 === 0 ? few : many);
    reader.forget(place);
    // The file that is read stays open, and is the one before.
    expect(() => {
      readToEnd(steps, step);
    }).toThrow(RunsChanged);
    const again = lookUp();
    readToEnd(again, again.next());
    expect(painter.values[0]).toBe(5 * 8192 + leaf);
  }
  reader.close();
});
