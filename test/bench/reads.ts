/**
 * `bench reads`: what it costs that every block which is read is compared with its checksum. Reads that the page cache has, of a pool in
 * one thread, by CPU time: with the comparison, and in a process in which checksums are replaced by nothing.
 */
import path from 'node:path';
import { run } from '../support/run.ts';
import { writeResult } from './result-file.ts';
import { formatTable, median } from './table.ts';

interface Costs {
  readonly small: number;
  readonly large: number;
}

const rowNames = { small: '4 KiB, at random', large: '1 MiB, in order' } as const;

async function measured(isChecked: boolean, folder: string): Promise<Costs> {
  const here = import.meta.dirname;
  const preload = isChecked ? [] : ['--import', path.join(here, 'no-checksum.ts')];
  const script = path.join(here, 'reads-pool.ts');
  const { stdout } = await run(process.execPath, [...preload, script, folder]);
  return JSON.parse(stdout) as Costs;
}

export async function benchReads({
  rounds,
  folder,
}: {
  readonly rounds: number;
  readonly folder: string;
}): Promise<void> {
  const checked: Costs[] = [];
  const unchecked: Costs[] = [];
  for (let round = 0; round < rounds; round += 1) {
    checked.push(await measured(true, folder));
    unchecked.push(await measured(false, folder));
  }
  const rows = (['small', 'large'] as const).map((size) => {
    const withCheck = median(checked.map((each) => each[size]));
    const without = median(unchecked.map((each) => each[size]));
    const part = ((withCheck - without) / withCheck) * 100;
    return [
      rowNames[size],
      withCheck.toFixed(2),
      without.toFixed(2),
      (withCheck - without).toFixed(2),
      `${part.toFixed(0)} %`,
    ];
  });
  const head = ['CPU of a read, µs', 'checked', 'unchecked', 'the check', 'its part'];
  console.log(`\n${formatTable([head, ...rows])}\n`);
  console.log('from the page cache, without client and socket; median of the rounds');
  console.log(`details: ${writeResult('reads', { rounds, checked, unchecked })}`);
}
