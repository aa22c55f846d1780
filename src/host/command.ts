/** Commands that a person names, run by the shell; and being interrupted while one runs. */
import { spawn } from 'node:child_process';
import type { ProcessExit } from './process.ts';

export interface CommandRunner {
  /**
   * Runs `line` with `sh -c` in a process group of its own, without input, its output on our error output, `variables`
   * added to ours. Resolves when it has ended.
   */
  run(line: string, variables: Readonly<Record<string, string>>): Promise<ProcessExit>;
  /** From now on an interruption (Ctrl-C, SIGTERM, SIGHUP) ends the command that runs and calls `action`, not this process. */
  onInterrupt(action: () => void): void;
}

let running: number | undefined;

/** Ends the command with everything that it started. */
function endRunning(): void {
  if (running === undefined) return;
  try {
    process.kill(-running, 'SIGTERM');
  } catch {
    // It has ended in this moment.
  }
}

export const systemCommands: CommandRunner = {
  run: async (line, variables) =>
    await new Promise((resolve, reject) => {
      const child = spawn('sh', ['-c', line], {
        detached: true,
        env: { ...process.env, ...variables },
        stdio: ['ignore', process.stderr, process.stderr],
      });
      running = child.pid;
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        running = undefined;
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      });
    }),
  onInterrupt: (action) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        endRunning();
        action();
      });
    }
  },
};
