/**
 * Runs libiscsi's iscsi-test-cu and says what really came of every test.
 *
 * The tool's own summary counts a skipped test as passed, so it is not used. A test is judged by its part of the log:
 *
 *     "passed" and no [SKIPPED] ─▶ passed      "passed" and [SKIPPED] ─▶ skipped
 *     "FAILED"                  ─▶ failed      no verdict, or not in the log at all ─▶ crashed
 *
 * One process per suite: in version 1.19 a test of COMPARE AND WRITE spoils every later test of the same process.
 */
import { tryRun } from './run.ts';

export type Outcome = 'passed' | 'failed' | 'skipped' | 'crashed';

export interface SuiteTest {
  readonly suite: string;
  readonly test: string;
  readonly outcome: Outcome;
  /** Last words of the test's log when it did not pass. */
  readonly why: string;
}

/** A unit that a suite is run on. */
export interface SuiteTarget {
  /** URLs of one unit through two portals. */
  readonly urls: readonly [string, string];
  release(): Promise<void>;
}

const suiteWithinMs = 150_000;
const whyLines = 6;

/** Names of the suites, each with its tests, as the tool lists them. */
export async function listSuites(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { stdout } = await tryRun('iscsi-test-cu', ['-l']);
  const suites = new Map<string, string[]>();
  for (const [, suite = '', test = ''] of stdout.matchAll(/^ALL\.(\w+)\.([\w-]+)\s*$/gm)) {
    suites.set(suite, [...(suites.get(suite) ?? []), test]);
  }
  return suites;
}

function verdictOf(log: string): Outcome {
  // The verdict stands at the start of a line, or right behind the dots when the test logged nothing.
  const verdict = /(?:^|\.\.\.)(passed|FAILED)/m.exec(log)?.[1];
  if (verdict === 'FAILED') return 'failed';
  if (verdict === undefined) return 'crashed';
  return log.includes('[SKIPPED]') ? 'skipped' : 'passed';
}

function whyOf(log: string, outcome: Outcome): string {
  if (outcome === 'passed') return '';
  const lines = log.split('\n').map((line) => line.trim());
  const telling = lines.filter((line) => /\[FAILED\]|\[SKIPPED\]|^\d+\. /.test(line));
  const words = telling.length > 0 ? telling.slice(0, whyLines) : lines.slice(-whyLines);
  return words.map((line) => line.replace(/passed.*$/, '')).join(' | ');
}

/** What a run of one suite says about each of its tests. */
function readLog(suite: string, tests: readonly string[], log: string): SuiteTest[] {
  const parts = log.split(/^ {2}Test: /m).slice(1);
  const logByTest = new Map(parts.map((part) => [/^[\w-]+/.exec(part)?.[0] ?? '', part]));
  return tests.map((test) => {
    const part = logByTest.get(test) ?? '';
    const outcome = verdictOf(part);
    return { suite, test, outcome, why: whyOf(part === '' ? log : part, outcome) };
  });
}

/** Runs one suite; writes are allowed, SANITIZE too, and every command is logged so that skips are seen. */
export async function runSuite(
  suite: string,
  tests: readonly string[],
  urls: readonly string[],
): Promise<SuiteTest[]> {
  const args = ['-d', '-S', '-V', '-v', '-t', `ALL.${suite}`, ...urls];
  const { stdout, stderr } = await tryRun('iscsi-test-cu', args, { timeoutMs: suiteWithinMs });
  return readLog(suite, tests, stdout + stderr);
}

/** Runs every suite, each on a unit of its own: what a failed suite leaves reserved harms no other. */
export async function runSuites(
  prepare: () => Promise<SuiteTarget>,
  isChosen: (suite: string) => boolean = () => true,
): Promise<SuiteTest[]> {
  const results: SuiteTest[] = [];
  for (const [suite, tests] of await listSuites()) {
    if (!isChosen(suite)) continue;
    const target = await prepare();
    try {
      results.push(...(await runSuite(suite, tests, target.urls)));
    } finally {
      await target.release();
    }
  }
  return results;
}

export function countOf(tests: readonly SuiteTest[], outcome: Outcome): number {
  return tests.filter((each) => each.outcome === outcome).length;
}

const notRemovable = 'only for removable media, which a volume is not';
const noSanitize = 'SANITIZE is not offered: it would destroy a volume and its history';
const noDefects = 'a virtual disk has no list of physical defects';
const noAtomic = 'WRITE ATOMIC is of SBC-4; not offered, and not listed as supported';
const wsnz = 'block limits say WSNZ=1: hosts never send WRITE SAME of 0 blocks, and it is refused';

/**
 * Tests that may be skipped, by suite or by SUITE.TEST, and why. Everything else that is skipped is a fault of ours.
 */
export const allowedSkips: Readonly<Record<string, string>> = {
  NoMedia: notRemovable,
  PreventAllow: notRemovable,
  StartStopUnit: notRemovable,
  Sanitize: noSanitize,
  ReadDefectData10: noDefects,
  ReadDefectData12: noDefects,
  WriteAtomic16: noAtomic,
  'WriteSame10.ZeroBlocks': wsnz,
  'WriteSame16.ZeroBlocks': wsnz,
  'ReadOnly.ReadOnlySBC': 'needs a write-protected unit: run apart, on a read-only mapping',
  'Reserve6.TargetColdReset': 'TARGET COLD RESET is not offered: it would cut off every host',
};

/** Tests that no target can pass which does as the standard says, and where ours is proven instead. */
export const faultsOfTheTool: Readonly<Record<string, string>> = {
  'GetLBAStatus.UnmapSingle':
    'asks for LBA 9 and wants a first descriptor that begins at 16, because a physical block has 8 logical ones; ' +
    'test/interop/iscsi-scsi.test.ts proves that it begins where it was asked for',
};

/** Whether the test says that something is wrong with the target. */
export function isFault(test: SuiteTest): boolean {
  const name = `${test.suite}.${test.test}`;
  if (test.outcome === 'failed') return faultsOfTheTool[name] === undefined;
  if (test.outcome !== 'skipped') return test.outcome !== 'passed';
  return allowedSkips[test.suite] === undefined && allowedSkips[name] === undefined;
}
