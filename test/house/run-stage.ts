/**
 * Runs one stage as a program in a process group of its own, and says how it ended: also when it was killed, took too long, or could
 * not be run at all. Whatever happens there is a result, so that no stage is missing from the report.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import type { Stage } from './stages.ts';

const root = path.resolve(import.meta.dirname, '../..');
const isCi = process.env['CI'] === 'true';

/** Where files lie in memory, if so much is free there: the unit tests use less than a tenth of it at once. */
const memoryFolder = '/dev/shm';
const memoryFreeBytesMin = 2 ** 31;

/** So long after its end a program's output may stay open. */
const outputHeldMsMax = 5000;

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface StageResult extends Counts {
  readonly stage: Stage;
  readonly seconds: number;
  /** What the program printed, and how it ended if not by itself. */
  readonly output: string;
  readonly skippedTitles: readonly string[];
}

interface Exit {
  readonly isOk: boolean;
  readonly output: string;
}

/** The part of vitest's JSON report that is read here. */
interface VitestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const running = new Map<ChildProcess, Stage>();

/** Ends a program with everything of its process group. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended in this moment.
  }
}

/** Ends everything that runs; answers the names of its stages. */
export function endRunning(): string[] {
  const names = [...running.values()].map(({ name }) => name);
  for (const child of running.keys()) endGroup(child);
  return names;
}

/** Runs a program of node_modules/.bin, at most as long as its stage may take. `temporary` is its folder for temporary files. */
async function runProgram(
  stage: Stage,
  extraArgs: readonly string[],
  temporary: string,
): Promise<Exit> {
  const script = fs.realpathSync(path.join(root, 'node_modules/.bin', stage.program));
  const child = spawn(process.execPath, [script, ...stage.args, ...extraArgs], {
    cwd: root,
    detached: true,
    env: {
      ...process.env,
      NO_COLOR: '1',
      TMPDIR: temporary,
      TIDEMARK_GUEST_IMAGES: os.tmpdir(),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.set(child, stage);
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const note = (text: string): void => void chunks.push(Buffer.from(`\n${text}\n`));
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const limit = setTimeout(() => {
    note(`stopped: ${stage.name} may take ${stage.timeoutMs / 1000} s`);
    endGroup(child);
  }, stage.timeoutMs);
  child.on('error', (error) => {
    note(`${stage.program} could not be started: ${error.message}`);
    resolve(false);
  });
  let held: NodeJS.Timeout | undefined;
  child.on('exit', (code, signal) => {
    if (code !== 0) note(`${stage.program} ended with ${signal ?? `code ${code}`}`);
    held = setTimeout(() => {
      note(`what ${stage.program} left running holds its output open`);
      resolve(false);
      endGroup(child);
    }, outputHeldMsMax);
  });
  child.on('close', (code) => {
    resolve(code === 0);
  });
  const isOk = await promise;
  clearTimeout(limit);
  clearTimeout(held);
  running.delete(child);
  // Some tools colour their output in CI whatever NO_COLOR says.
  return { isOk, output: stripVTControlCharacters(Buffer.concat(chunks).toString()) };
}

/** Ends what a stage left running: whoever names its temporary folder. Returns the command lines. */
function endLeftovers(temporary: string): string[] {
  const found: string[] = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const args = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (!args.some((arg) => arg.includes(temporary))) continue;
      process.kill(Number(pid), 'SIGKILL');
      found.push(args.join(' ').trim());
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** What vitest wrote, or why it cannot be read: a run that was killed leaves none, or half of one. */
function readReport(file: string): VitestReport | string {
  try {
    // Written by vitest's json reporter, whose shape this is.
    return JSON.parse(fs.readFileSync(file, 'utf8')) as VitestReport;
  } catch (thrown) {
    return `no report of vitest: ${String(thrown)}`;
  }
}

/** Counts of a suite. A run that failed without a failed test (a file that does not load) counts as one failure. */
function countsOf(report: VitestReport, isOk: boolean): Counts & { titles: string[] } {
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const titles = tests
    .filter((test) => test.status !== 'passed' && test.status !== 'failed')
    .map((test) => test.fullName);
  const failed = Math.max(report.numFailedTests, isOk ? 0 : 1);
  return {
    passed: report.numPassedTests,
    failed: isCi ? failed + titles.length : failed,
    skipped: isCi ? 0 : titles.length,
    titles,
  };
}

function temporaryParent(stage: Stage): string {
  if (!stage.isInMemory) return os.tmpdir();
  try {
    fs.accessSync(memoryFolder, fs.constants.W_OK);
    const { bavail, bsize } = fs.statfsSync(memoryFolder);
    return bavail * bsize >= memoryFreeBytesMin ? memoryFolder : os.tmpdir();
  } catch {
    return os.tmpdir();
  }
}

async function runIn(folder: string, stage: Stage): Promise<Omit<StageResult, 'seconds'>> {
  const temporary = path.join(folder, 't');
  fs.mkdirSync(temporary);
  const file = path.join(folder, 'report.json');
  const isSuite = stage.kind === 'suite';
  const extra = isSuite ? ['--reporter=default', '--reporter=json', `--outputFile=${file}`] : [];
  const exit = await runProgram(stage, extra, temporary);
  const notes = endLeftovers(temporary).map((line) => `left running: ${line}`);
  const report = isSuite ? readReport(file) : undefined;
  if (typeof report === 'string') notes.push(report);
  const isOk = exit.isOk && notes.length === 0;
  const output = [exit.output, ...notes].join('\n');
  if (typeof report === 'object') {
    const { titles, ...counts } = countsOf(report, isOk);
    return { stage, output, skippedTitles: titles, ...counts };
  }
  const counts = { passed: isOk ? 1 : 0, failed: isOk ? 0 : 1, skipped: 0 };
  return { stage, output, skippedTitles: [], ...counts };
}

/** Runs a stage; never rejects: what keeps it from running is its failure. */
export async function runStage(stage: Stage): Promise<StageResult> {
  const startedMs = Date.now();
  const secondsSince = (): number => (Date.now() - startedMs) / 1000;
  try {
    // Short: paths of unix sockets have at most 107 bytes.
    const folder = fs.mkdtempSync(path.join(temporaryParent(stage), 'tm-'));
    try {
      const result = await runIn(folder, stage);
      return { ...result, seconds: secondsSince() };
    } finally {
      fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  } catch (thrown) {
    const output = `${stage.name} could not be run: ${String(thrown)}`;
    const counts = { passed: 0, failed: 1, skipped: 0 };
    return { stage, seconds: secondsSince(), output, skippedTitles: [], ...counts };
  }
}
