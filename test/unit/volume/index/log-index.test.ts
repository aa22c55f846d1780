/** Parts of the index's answers that the random histories of `test/model/log-index.test.ts` do not single out. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { RecordType } from '../../../../src/volume/format/frame.ts';
import { runPath } from '../../../../src/volume/index/run-path.ts';
import { looksAt, type Step, worldOf } from './index-world.ts';

describe('log index', () => {
  it('does not take for the same what was cut off between two moments and grew again', async () => {
    const data = { kind: 'data', line: 0, type: RecordType.write, flags: 0, count: 30 } as const;
    const steps: Step[] = [
      { kind: 'create', line: 0, blocks: 12_000 },
      ...[100, 3000, 9000].map((at) => ({ ...data, at })),
      { kind: 'resize', line: 0, blocks: 5000 },
      { kind: 'resize', line: 0, blocks: 12_000 },
      ...Array.from({ length: 30 }, () => ({ ...data, at: 100 })),
    ];
    const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-index-'));
    try {
      const { log, index, reader } = worldOf(folder, steps, 0, false);
      const [line] = log.catalogue.lines();
      const cut = (log.records[2]?.position ?? 0) + 1;
      const id = line?.id ?? 0;
      const window = index.changes({ line: id, cut }, { line: id, cut: log.end }).window();
      await new Promise<void>((resolve) => {
        if (window.prepare(0, resolve)) resolve();
      });
      // Leaf 5 is suspect because the run of the later records holds those before the cut, too.
      expect([0, 1, 5, 6, 9, 10].map((leaf) => window.same(leaf))).toEqual([0, 4, 0, 3, 0, 0]);
      reader.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('finds nothing wrong with a run that is removed while the segment behind it is read', async () => {
    const data = { kind: 'data', line: 0, type: RecordType.write, flags: 0, count: 30 } as const;
    const steps: Step[] = [
      { kind: 'create', line: 0, blocks: 12_000 },
      ...Array.from({ length: 40 }, (_, index) => ({ ...data, at: index })),
    ];
    const folder = mkdtempSync(path.join(tmpdir(), 'tidemark-index-'));
    try {
      const { log, index, reader, runs, disk, bad, meanwhile } = worldOf(folder, steps, 0, false);
      const [{ id } = { id: 0 }] = log.catalogue.lines();
      const used = { level: 1, firstSegId: 2 };
      expect(runs.isKnown(used)).toBe(true);
      meanwhile.push(() => {
        runs.remove(used);
        reader.forget(used);
        disk.remove(runPath(used));
      });
      const values = await new Promise<number[]>((resolve) => {
        index.source(id, log.end).loadLater(0, (found) => {
          resolve([...(found ?? [])]);
        });
      });
      expect(meanwhile).toEqual([]);
      const [look] = looksAt(log, [[0, 1]]);
      expect(values).toEqual(values.map((_, block) => look?.expected.map.lookup(block)));
      expect(values.length).toBe(512);
      expect(bad).toEqual([]);
      reader.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
