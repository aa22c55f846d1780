/** Runs a client and says how much processor time it took, from the clock that a shell keeps of its children. */
import { type RunResult, run } from '../support/run.ts';

export interface TimedRun extends RunResult {
  /** Processor seconds of the program, user and system together. */
  readonly clientSeconds: number;
  readonly wallSeconds: number;
}

/** Runs to the end; throws with everything the program said unless it exits with 0. */
export async function runTimed(
  program: string,
  args: readonly string[],
  timeoutMs: number,
): Promise<TimedRun> {
  const script = '"$@" && times';
  const startedMs = performance.now();
  const result = await run('bash', ['-c', script, 'timed', program, ...args], { timeoutMs });
  const wallSeconds = (performance.now() - startedMs) / 1000;
  const children = result.stdout.trimEnd().split('\n').at(-1) ?? '';
  const clientSeconds = [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
  return { ...result, clientSeconds, wallSeconds };
}
