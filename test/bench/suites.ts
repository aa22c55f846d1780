/**
 * `bench suites`: libiscsi's test suites on tidemark and on tgt, side by side. It measures nothing; it is here because it
 * prints the table of the status page.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import {
  countOf,
  isFault,
  runSuites,
  type SuiteTarget,
  type SuiteTest,
} from '../support/iscsi-suites.ts';
import { SuiteAppliance } from '../support/suite-appliance.ts';
import { Tgt } from '../support/tgt.ts';
import { formatTable } from './table.ts';

const unitBytes = 1 << 30;

/** A tgtd of its own for every suite, with one thin unit. */
async function tgtForSuite(): Promise<SuiteTarget> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-suites-'));
  const file = path.join(folder, 'disk.raw');
  fs.writeFileSync(file, '');
  fs.truncateSync(file, unitBytes);
  const tgt = await Tgt.start({ folder, luns: [{ file, params: 'thin_provisioning=1' }] });
  return {
    urls: [tgt.url(1), tgt.url(1, 1)],
    release: async () => {
      await tgt.stop();
      fs.rmSync(folder, { recursive: true });
    },
  };
}

function isChosenBy(only: readonly string[]): (suite: string) => boolean {
  return (suite) => only.length === 0 || only.includes(suite);
}

function cell(tests: readonly SuiteTest[]): string {
  const broken = countOf(tests, 'crashed');
  const counts = [countOf(tests, 'passed'), countOf(tests, 'failed'), countOf(tests, 'skipped')];
  return counts.join('/') + (broken === 0 ? '' : ` +${broken} crashed`);
}

function table(ours: readonly SuiteTest[], theirs: readonly SuiteTest[]): string {
  const names = [...new Set(ours.map((each) => each.suite))];
  const rows = names.map((name) => {
    const mine = ours.filter((each) => each.suite === name);
    return [name, String(mine.length), cell(mine), cell(theirs.filter((t) => t.suite === name))];
  });
  const total = ['all', String(ours.length), cell(ours), cell(theirs)];
  return formatTable([['suite', 'tests', 'tidemark', 'tgt'], ...rows, total]);
}

/** Prints passed/failed/skipped of both and what tidemark did not pass. `only` names suites; empty = all. */
export async function compareSuites(only: readonly string[]): Promise<void> {
  const isChosen = isChosenBy(only);
  const theirs = await runSuites(tgtForSuite, isChosen);
  await using target = await IscsiAppliance.start();
  const suiteAppliance = new SuiteAppliance(target);
  const ours = await runSuites(async () => await suiteAppliance.nextUnit(), isChosen);
  console.log(`passed/failed/skipped\n\n${table(ours, theirs)}\n`);
  for (const { suite, test, outcome, why } of ours.filter((each) => each.outcome !== 'passed')) {
    console.log(`${outcome}: ${suite}.${test}: ${why}`);
  }
  if (ours.some(isFault)) process.exitCode = 1;
}
