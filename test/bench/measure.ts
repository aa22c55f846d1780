/** Measures one job on one server and says what it cost whom; repeats it when other programs disturbed it. */
import { run } from '../support/run.ts';
import type { Measured } from './jobs.ts';
import { foreignShareMax, preTouchBytes, repeatsMax } from './limits.ts';
import { machineSeconds, processSeconds } from './processor-time.ts';

export interface Sample extends Measured {
  /** Processor microseconds of the server per operation. */
  readonly serverUsPerOperation: number;
  /** Processor time of other programs, as a share of one processor. */
  readonly foreignShare: number;
}

function secondsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + processSeconds(pid), 0);
}

async function sampleOnce(
  measure: () => Promise<Measured>,
  pids: readonly number[],
): Promise<Sample> {
  const own = process.cpuUsage();
  const machineBefore = machineSeconds();
  const serverBefore = secondsOf(pids);
  const measured = await measure();
  const server = secondsOf(pids) - serverBefore;
  const machine = machineSeconds() - machineBefore;
  const bench = process.cpuUsage(own);
  const benchSeconds = (bench.user + bench.system) / 1e6;
  const foreign = Math.max(0, machine - server - measured.clientSeconds - benchSeconds);
  return {
    ...measured,
    serverUsPerOperation: (server * 1e6) / measured.operations,
    foreignShare: foreign / measured.wallSeconds,
  };
}

/** The least disturbed of at most `1 + repeatsMax` tries; the first quiet one ends it. */
export async function sample(
  measure: () => Promise<Measured>,
  pids: readonly number[],
): Promise<Sample> {
  let best = await sampleOnce(measure, pids);
  for (let repeat = 0; repeat < repeatsMax && best.foreignShare > foreignShareMax; repeat += 1) {
    const next = await sampleOnce(measure, pids);
    if (next.foreignShare < best.foreignShare) best = next;
  }
  return best;
}

/**
 * Touches memory and gives it back. A virtual machine returns freed memory to its host, and touching it again costs
 * 10 µs a page: without this, whoever comes first pays for everyone.
 */
export async function preTouch(): Promise<void> {
  const script = `const size = ${1 << 28};
    const kept = [];
    for (let total = 0; total < ${preTouchBytes}; total += size) kept.push(Buffer.alloc(size, 1));`;
  await run(process.execPath, ['-e', script]);
}
