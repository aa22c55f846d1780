/** Who has a volume open: what deletes, rollbacks and lists ask. */
import { expect, it } from 'vitest';
import { present } from '../../../src/base/assert.ts';
import { uuidText } from '../../../src/base/uuid.ts';
import { PoolExports } from '../../../src/engine/exports.ts';
import type { NbdOpenExport } from '../../../src/nbd/exports.ts';
import { close, create, snapshot, worldOfTests } from '../volume/pool-world.ts';

const world = worldOfTests();

async function openExport(exports: PoolExports, name: string): Promise<NbdOpenExport> {
  const opened = await new Promise<NbdOpenExport | undefined>((resolve) => {
    exports.open(name, resolve);
  });
  return present(opened, name);
}

it('knows the connections of each volume, with and without those of its snapshots', async () => {
  const { pool } = await world.open();
  await create(pool, 'one', 8);
  await create(pool, 'two', 8);
  (await snapshot(pool, 'one', 'mon')).close();
  const exports = new PoolExports(pool);
  const first = await openExport(exports, 'one');
  const second = await openExport(exports, 'one');
  const other = await openExport(exports, 'two');
  const past = await openExport(exports, 'one@mon');
  const [one, two] = [pool.volume('one'), pool.volume('two')].map(({ uuid }) => uuidText(uuid));
  const seen = (): unknown => ({
    one: exports.volumeConnections(one ?? ''),
    counts: [one, two].map((id) => exports.volumeConnectionCount(id ?? '')),
    all: exports.allConnections(one ?? ''),
  });
  const all = new Set([first, second, past]);
  expect(seen()).toEqual({ one: new Set([first, second]), counts: [2, 1], all });
  // Ending connections closes their exports: what was asked for is not changed by it.
  const asked = exports.volumeConnections(one ?? '');
  for (const opened of asked) opened.close();
  expect(asked.size).toBe(2);
  expect(seen()).toEqual({ one: new Set(), counts: [0, 1], all: new Set([past]) });
  other.close();
  past.close();
  expect(seen()).toEqual({ one: new Set(), counts: [0, 0], all: new Set() });
  await close(pool);
});
