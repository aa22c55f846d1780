/**
 * A daemon with its engine in a folder of its own, ended and removed whatever happens: for tests of starting, stopping,
 * crashing and commanding. `entry` chooses the daemon over the real engine or over the one without a store.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Pool } from '../../src/contract/pool.ts';
import { connectEngine } from '../../src/engine/client.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { isAlive } from './appliance.ts';
import { Background, type RunResult, tryRun, until } from './run.ts';

const root = path.resolve(import.meta.dirname, '../..');
const withinMs = 30_000;

export const daemonEntries = {
  fake: path.join(root, 'test/support/daemon-with-fake-engine.ts'),
  real: path.join(root, 'src/main.ts'),
} as const;

export class DaemonUnderTest implements AsyncDisposable {
  readonly folder: string;
  readonly #entry: string;
  /** Every engine that was ever seen: a test may have separated one from its daemon. */
  readonly #enginePids = new Set<number>();
  readonly #daemons: Background[] = [];

  constructor(entry: string) {
    this.#entry = entry;
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-e2e-'));
  }

  /** Starts a daemon beside whatever runs already, without waiting for anything. */
  launch(args: readonly string[] = ['--nbd-port', '0']): Background {
    const ports = args.includes('--iscsi-port') ? [] : ['--iscsi-port', '0'];
    const all = [this.#entry, '--data', this.folder, ...ports, ...args];
    const daemon = new Background(process.execPath, all);
    this.#daemons.push(daemon);
    return daemon;
  }

  /** Starts a daemon and waits until it has greeted. */
  async start(args?: readonly string[]): Promise<Background> {
    const daemon = this.launch(args);
    await until('the daemon greets', withinMs, () => {
      if (!daemon.isRunning) throw new Error(`the daemon ended:\n${daemon.output}`);
      return daemon.output.includes('what to type next');
    });
    await this.enginePid();
    return daemon;
  }

  /** Runs one command line as a process of its own. */
  async cli(line: string): Promise<RunResult> {
    const program = path.join(root, 'src/cli/tidemark');
    return await tryRun(program, ['--data', this.folder, ...line.split(' ')]);
  }

  /** The answer of a command that must succeed. */
  async json(line: string): Promise<unknown> {
    const { code, stdout, stderr } = await this.cli(`${line} --json`);
    if (code !== 0 || stderr !== '') throw new Error(`tidemark ${line}: ${code} ${stderr}`);
    return JSON.parse(stdout);
  }

  async pool(): Promise<Pool> {
    // `pool status --json` prints the contract's shape.
    return (await this.json('pool status')) as Pool;
  }

  /** Process id of the engine, asked from the engine itself. */
  async enginePid(): Promise<number> {
    const client = await connectEngine(this.runPath('main.sock'), systemTimers);
    const { pid } = await client.call('hello', {});
    client.close();
    this.#enginePids.add(pid);
    return pid;
  }

  runPath(name: string): string {
    return path.join(this.folder, 'run', name);
  }

  read(name: string): string {
    return fs.readFileSync(path.join(this.folder, name), 'utf8');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.enginePid().catch(() => undefined);
    for (const daemon of this.#daemons) await daemon.stop();
    for (const pid of this.#enginePids) {
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
