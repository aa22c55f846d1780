/**
 * Runs the checks and tests and says what came of them.
 *
 *     npm run ok             the quick stages, seconds
 *     npm test               every stage; installs the Debian packages it needs when it may
 *     npm test -- fuzz e2e   only these stages
 *
 * The last line is always `N passed, N failed`, with `, N skipped` when something was; the one before says where the time went.
 * With CI=true a skipped test counts as failed: there, everything must really run.
 */
import { installPackages } from '../support/debian-packages.ts';
import { type Counts, endRunning, runStage, type StageResult } from './run-stage.ts';
import { type Stage, stages } from './stages.ts';

const outputLinesMax = 300;
const smallAtOnce = 2;
const startedMs = Date.now();
let endedBy: string | undefined;

function summaryOf(counts: Counts): string {
  const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : '';
  return `${counts.passed} passed, ${counts.failed} failed${skipped}`;
}

function timeOf(seconds: number): string {
  return seconds < 100 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(1)} min`;
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

/** The small stages two at a time, then the others one after another: these use both processors themselves. */
async function runAll(chosen: readonly Stage[]): Promise<StageResult[]> {
  const results: StageResult[] = [];
  const runEach = async (queue: Stage[]): Promise<void> => {
    for (let stage = queue.shift(); stage !== undefined; stage = queue.shift()) {
      if (endedBy !== undefined) return;
      const result = await runStage(stage);
      printResult(result);
      results.push(result);
    }
  };
  const small = chosen.filter((stage) => stage.isSmall);
  await Promise.all(Array.from({ length: smallAtOnce }, async () => await runEach(small)));
  await runEach(chosen.filter((stage) => !stage.isSmall));
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

// The stages run in process groups of their own, which nobody else would end. Those that ran are then reported as any that failed.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    endedBy = signal;
    console.log(`FAIL  ended by ${signal} while it ran: ${endRunning().join(', ')}`);
  });
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
const parts = results.map(({ stage, seconds }) => `${stage.name} ${timeOf(seconds)}`);
console.log(`${timeOf((Date.now() - startedMs) / 1000)}: ${parts.join(', ')}`);
console.log(summaryOf(total));
if (total.failed > 0) process.exitCode = 1;
