/**
 * Runs the checks and tests and says what came of them.
 *
 *     npm run ok             the quick stages, seconds
 *     npm test               every stage; installs the Debian packages it needs when it may
 *     npm test -- fuzz e2e   only these stages
 *
 * The last line is always `N passed, N failed`, with `, N skipped` when something was. With CI=true a skipped test
 * counts as failed: there, everything must really run.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { installPackages } from '../support/debian-packages.ts';
import { type Stage, stages } from './stages.ts';

const root = path.resolve(import.meta.dirname, '../..');
const isCi = process.env['CI'] === 'true';
const outputLinesMax = 300;

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface StageResult extends Counts {
  readonly stage: Stage;
  readonly seconds: number;
  /** What the program printed. */
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
    readonly name: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/**
 * Runs a program of node_modules/.bin in a process group of its own; at the time limit the whole group is ended.
 * `temporary` is its folder for temporary files.
 */
async function runProgram(
  stage: Stage,
  extraArgs: readonly string[],
  temporary: string,
): Promise<Exit> {
  const script = fs.realpathSync(path.join(root, 'node_modules/.bin', stage.program));
  const child = spawn(process.execPath, [script, ...stage.args, ...extraArgs], {
    cwd: root,
    detached: true,
    env: { ...process.env, NO_COLOR: '1', TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const limit = setTimeout(() => {
    chunks.push(Buffer.from(`\nstopped after ${stage.timeoutMs / 1000} s\n`));
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, stage.timeoutMs);
  child.on('error', () => {
    resolve(false);
  });
  child.on('close', (code) => {
    resolve(code === 0);
  });
  const isOk = await promise;
  clearTimeout(limit);
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

function readReport(file: string): VitestReport | undefined {
  if (!fs.existsSync(file)) return undefined;
  // Written by vitest's json reporter, whose shape this is.
  return JSON.parse(fs.readFileSync(file, 'utf8')) as VitestReport;
}

/** Counts of a suite. A run that failed without a failed test (a file that does not load) counts as one failure. */
function countsOf(report: VitestReport | undefined, isOk: boolean): Counts & { titles: string[] } {
  const tests = report?.testResults.flatMap((file) => file.assertionResults) ?? [];
  const titles = tests
    .filter((test) => test.status !== 'passed' && test.status !== 'failed')
    .map((test) => test.fullName);
  const failed = Math.max(report?.numFailedTests ?? 0, isOk ? 0 : 1);
  return {
    passed: report?.numPassedTests ?? 0,
    failed: isCi ? failed + titles.length : failed,
    skipped: isCi ? 0 : titles.length,
    titles,
  };
}

async function runStage(stage: Stage): Promise<StageResult> {
  const startedMs = Date.now();
  // Short: paths of unix sockets have at most 107 bytes.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tm-'));
  const temporary = path.join(folder, 't');
  fs.mkdirSync(temporary);
  const file = path.join(folder, 'report.json');
  const isSuite = stage.kind === 'suite';
  const extra = isSuite ? ['--reporter=default', '--reporter=json', `--outputFile=${file}`] : [];
  const exit = await runProgram(stage, extra, temporary);
  const left = endLeftovers(temporary);
  const isOk = exit.isOk && left.length === 0;
  const output = [exit.output, ...left.map((line) => `left running: ${line}`)].join('\n');
  const counts = isSuite
    ? countsOf(readReport(file), isOk)
    : { passed: isOk ? 1 : 0, failed: isOk ? 0 : 1, skipped: 0, titles: [] };
  fs.rmSync(folder, { recursive: true, force: true });
  const { titles, ...numbers } = counts;
  const seconds = (Date.now() - startedMs) / 1000;
  return { stage, seconds, output, skippedTitles: titles, ...numbers };
}

function summaryOf(counts: Counts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}

function printResult(result: StageResult): void {
  const word = result.failed > 0 ? 'FAIL' : 'ok  ';
  const numbers = result.stage.kind === 'suite' ? summaryOf(result) : '';
  console.log(
    `${word}  ${result.stage.name.padEnd(18)}${result.seconds.toFixed(1).padStart(6)} s  ${numbers}`,
  );
  for (const title of result.skippedTitles) console.log(`      skipped: ${title}`);
  if (result.failed === 0) return;
  const lines = result.output.trimEnd().split('\n');
  for (const line of lines.slice(-outputLinesMax)) console.log(`      ${line}`);
}

/** Checks side by side, then suites one after another: they use both processors themselves. */
async function runAll(chosen: readonly Stage[]): Promise<StageResult[]> {
  const checks = chosen.filter((stage) => stage.kind === 'check');
  const results = await Promise.all(checks.map(runStage));
  for (const result of results) printResult(result);
  for (const stage of chosen.filter((each) => each.kind === 'suite')) {
    const result = await runStage(stage);
    printResult(result);
    results.push(result);
  }
  return results;
}

function choose(args: readonly string[]): readonly Stage[] {
  const [mode, ...names] = args;
  const unknown = names.filter((name) => !stages.some((stage) => stage.name === name));
  if ((mode !== 'ok' && mode !== 'test') || unknown.length > 0) {
    const known = stages.map((stage) => stage.name).join(', ');
    throw new Error(`usage: main.ts ok|test [STAGE...]; stages: ${known}`);
  }
  if (names.length > 0) return stages.filter((stage) => names.includes(stage.name));
  return mode === 'ok' ? stages.filter((stage) => stage.isQuick) : stages;
}

const chosen = choose(process.argv.slice(2));
if (chosen.some((stage) => stage.needsPackages === true)) {
  console.log(`Debian packages: ${installPackages().summary}`);
}
const results = await runAll(chosen);
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
for (const result of results) {
  total.passed += result.passed;
  total.failed += result.failed;
  total.skipped += result.skipped;
}
console.log(summaryOf(total));
if (total.failed > 0) process.exitCode = 1;
