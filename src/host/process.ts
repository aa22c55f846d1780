/** Processes of the control plane: an engine that outlives the daemon which started it. */
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { OperationError } from '../base/errors.ts';

export interface ProcessExit {
  /** Exit code; undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface SpawnedProcess {
  readonly pid: number;
  /** Resolves when the process has ended; never rejects. */
  readonly exited: Promise<ProcessExit>;
}

export interface SpawnRequest {
  readonly command: string;
  readonly arguments: readonly string[];
  /** Where stdout and stderr are appended. The child keeps it open by itself. */
  readonly logPath: string;
  /** Variables added to this process's own. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Starts a process in its own session with no terminal and no pipe to this one, so that neither our end nor a
 * Ctrl-C at our terminal reaches it. Rejects with OperationError `unavailable` when it cannot be started.
 */
export async function spawnDetached(request: SpawnRequest): Promise<SpawnedProcess> {
  const logFile = openSync(request.logPath, 'a', 0o600);
  try {
    const child = spawn(request.command, [...request.arguments], {
      detached: true,
      env: { ...process.env, ...request.variables },
      stdio: ['ignore', logFile, logFile],
    });
    const exited = new Promise<ProcessExit>((resolve) => {
      child.once('exit', (code, signal) => {
        resolve({ code: code ?? undefined, signal: signal ?? undefined });
      });
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) => {
        reject(
          new OperationError('unavailable', `cannot start ${request.command}`, undefined, cause),
        );
      });
    });
    child.unref();
    // 'spawn' was emitted, so there is a process and it has an id.
    return { pid: child.pid ?? -1, exited };
  } finally {
    closeSync(logFile);
  }
}

/** Whether a process with this id runs, whoever it belongs to. One that has ended and waits for its parent does not. */
export function isProcessAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // "PID (NAME) STATE ...": the name may hold anything, so the state is looked for from the last bracket on.
    return stat.at(stat.lastIndexOf(')') + 2) !== 'Z';
  } catch {
    // No such process.
    return false;
  }
}

/** Sends a signal; fine when the process is gone already. */
export function processSignal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended between our decision and the call: that is the state we want.
  }
}
