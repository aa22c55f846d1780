/** `bench day`: runs a day, prints what was found, and draws it. */
import fs from 'node:fs';
import path from 'node:path';
import { printSummary, writePage, writePlots } from './day-report.ts';
import { type DayOptions, longDay, runDay } from './day-run.ts';
import { writeResult } from './result-file.ts';

export interface DayBenchOptions
  extends Pick<
    DayOptions,
    'minutes' | 'hours' | 'volumes' | 'poolBytes' | 'restarts' | 'folder' | 'profileFolder'
  > {
  /** The plots go to the documentation, too. */
  readonly isForDocs: boolean;
}

const root = path.resolve(import.meta.dirname, '../..');

export async function benchDay({ isForDocs, ...options }: DayBenchOptions): Promise<void> {
  const result = await runDay({ ...longDay, ...options });
  printSummary(result);
  const { samples, counts, check, restartMs, totals } = result;
  const { faults, bytesWritten, writeCount, readCount } = totals;
  const numbers = { faults, bytesWritten, writeCount, readCount };
  const all = { options: result.options, counts, check, restartMs, totals: numbers, samples };
  const file = writeResult('day', all);
  const plots = writePlots(path.join(path.dirname(file), path.basename(file, '.json')), result);
  console.log(`details: ${file}\nplots: ${path.dirname(plots[0] ?? '')}`);
  if (isForDocs) {
    const folder = path.join(root, 'docs/day');
    fs.mkdirSync(folder, { recursive: true });
    writePlots(folder, result);
    writePage(folder, result);
    console.log(`documentation: ${folder}`);
  }
  if (faults.length + check.faults.length > 0) process.exitCode = 1;
}
