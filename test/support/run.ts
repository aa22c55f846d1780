/** Runs other programs for tests and benchmarks: bounded in time, never with a terminal, nothing left behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleepFor } from 'node:timers/promises';

export interface RunOptions {
  /** The program is killed then, and the run fails. */
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunResult {
  /** Exit code; -1 when it died of a signal. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const defaultTimeoutMs = 120_000;

/** Waits without a promise left behind. */
export async function sleep(ms: number): Promise<void> {
  await sleepFor(ms);
}

/** Runs to the end and returns whatever came of it; only a missing program throws. */
export async function tryRun(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const child = spawn(program, [...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const limitMs = options.timeoutMs ?? defaultTimeoutMs;
  const limit = setTimeout(() => {
    err.push(Buffer.from(`killed after ${limitMs} ms\n`));
    child.kill('SIGKILL');
  }, limitMs);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on('error', reject);
  child.on('close', (code) => {
    resolve(code ?? -1);
  });
  try {
    const code = await promise;
    return {
      code,
      stdout: Buffer.concat(out).toString(),
      stderr: Buffer.concat(err).toString(),
    };
  } finally {
    clearTimeout(limit);
  }
}

/** Runs to the end; throws with everything the program said unless it exits with 0. */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await tryRun(program, args, options);
  if (result.code === 0) return result;
  const said = `${result.stdout}\n${result.stderr}`.trim();
  throw new Error(`${program} ${args.join(' ')}: exit code ${result.code}\n${said}`);
}

/** A program that runs beside the test. `stop` ends it and waits until it is gone. */
export class Background {
  readonly child: ChildProcess;
  readonly #closed: Promise<void>;
  #output = '';

  constructor(program: string, args: readonly string[], options: RunOptions = {}) {
    const child = spawn(program, [...args], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    child.stdout.on('data', (chunk: Buffer) => this.#keep(chunk));
    child.stderr.on('data', (chunk: Buffer) => this.#keep(chunk));
    child.on('error', (error) => {
      this.#output += String(error);
      resolve(undefined);
    });
    child.on('close', () => {
      resolve(undefined);
    });
    this.child = child;
    this.#closed = promise;
  }

  /** Both outputs, the last 64 KiB. */
  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get isRunning(): boolean {
    return (
      this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null
    );
  }

  #keep(chunk: Buffer): void {
    this.#output = (this.#output + chunk.toString()).slice(-65_536);
  }

  /** Waits until the program has ended by itself. */
  async ended(): Promise<void> {
    await this.#closed;
  }

  /** Sends `signal`, and SIGKILL when the program is still there after `withinMs`. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', withinMs = 15_000): Promise<void> {
    if (!this.isRunning) return;
    this.child.kill(signal);
    const limit = setTimeout(() => this.child.kill('SIGKILL'), withinMs);
    await this.#closed;
    clearTimeout(limit);
  }
}

/** Polls until `isTrue` holds; throws with `what` after `withinMs`. */
export async function until(
  what: string,
  withinMs: number,
  isTrue: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = Date.now() + withinMs;
  while (!(await isTrue())) {
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(10);
  }
}
