/**
 * Starts engines: the one that is waited for while the daemon is still being loaded, and those that come after it.
 *
 *     daemon.lock held ─▶ startAhead ─▶ [engine loads and opens the pool]
 *                                └────▶ [daemon loads] ─▶ takeAhead ─▶ supervisor
 *
 * Invariants: none is started ahead when there may be one already, or when there is no pool yet (what else the daemon finds wrong
 * with its settings is told before one is made). One that was started ahead and that nobody took is ended by `dropAhead`.
 */
import type { EngineProcess } from './control/supervisor.ts';
import { engineNodeArguments, engineVariables } from './engine/process-options.ts';
import { processSignal, spawnDetached } from './host/process.ts';
import { exists, fileSize, readTail, rotateLog } from './host/run-folder.ts';
import { connectText } from './host/unix-socket.ts';

/** Lines of the engine's log are looked for in so many of its last bytes. */
const lastWordsBytes = 16 * 1024;
/** One of these is in the folder of every pool. */
const poolFiles = ['superblock-a', 'superblock-b'];

export interface EngineLaunch {
  /** The program that is run. */
  readonly entry: string;
  readonly pool: string;
  readonly poolFolder: string;
  /** Of the engine's control. */
  readonly socket: string;
  readonly logPath: string;
  /** Of its compiled code. */
  readonly cacheFolder: string;
  /** Of a pool that is made; undefined = the engine's default. */
  readonly poolSizeBytes: number | undefined;
  readonly firstVolume: { readonly name: string; readonly sizeBytes: number };
}

export class EngineLauncher {
  readonly #launch: EngineLaunch;
  #logStart: number;
  #ahead: EngineProcess | undefined;

  constructor(launch: EngineLaunch) {
    this.#launch = launch;
    this.#logStart = fileSize(launch.logPath);
  }

  /** Starts the engine of a pool that there is, unless one answers. A failure is left to the next start, which reports it. */
  async startAhead(): Promise<void> {
    if (!this.#hasPool() || (await this.#isAnswered())) return;
    this.#ahead = await this.spawn().catch(() => undefined);
  }

  /** The engine that was started ahead, once: from here on it is the caller's. */
  takeAhead(): EngineProcess | undefined {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead;
  }

  /** Ends the engine that was started ahead, unless somebody took it. */
  dropAhead(): void {
    const ahead = this.takeAhead();
    if (ahead !== undefined) processSignal(ahead.pid, 'SIGTERM');
  }

  /** Rejects with OperationError `unavailable` when no process can be started. */
  async spawn(): Promise<EngineProcess> {
    const { entry, pool, poolFolder, socket, logPath, cacheFolder } = this.#launch;
    const { poolSizeBytes, firstVolume } = this.#launch;
    const first = `${firstVolume.name}:${firstVolume.sizeBytes}`;
    const settings = ['--pool-dir', poolFolder, '--pool', pool, '--socket', socket];
    settings.push('--first-volume', first);
    if (poolSizeBytes !== undefined) settings.push('--pool-size', String(poolSizeBytes));
    rotateLog(logPath);
    this.#logStart = fileSize(logPath);
    return await spawnDetached({
      command: process.execPath,
      arguments: [...engineNodeArguments, entry, ...settings],
      logPath,
      variables: engineVariables(cacheFolder),
    });
  }

  /** What the engine that was started last has written to its log. */
  logText(): string {
    return readTail(this.#launch.logPath, this.#logStart, lastWordsBytes);
  }

  /** An empty folder, of a file system that was mounted there, is none. */
  #hasPool(): boolean {
    return poolFiles.some((name) => exists(`${this.#launch.poolFolder}/${name}`));
  }

  async #isAnswered(): Promise<boolean> {
    try {
      (await connectText(this.#launch.socket)).destroy();
      return true;
    } catch {
      return false;
    }
  }
}
