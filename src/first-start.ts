/**
 * The first steps of the daemon, with as little code as they need: the lock, and the engine, for which clients wait; everything else
 * is loaded while the engine starts.
 *
 *     lock ─▶ signals ─▶ engine started ahead ─▶ load daemon.ts ─▶ serve
 *                              └─ loads itself, opens the pool ─────┘ attached to by the supervisor
 *
 * Invariant: a daemon that does not have the lock starts nothing, and touches nothing of the pool.
 */
import { OperationError } from './base/errors.ts';
import type { Settings } from './control/settings.ts';
import { EngineLauncher } from './engine-launcher.ts';
import { readTail, removeFile, tryLockFile, writeSmallFile } from './host/run-folder.ts';
import { onStopSignal } from './host/signals.ts';

export interface DaemonEnvironment {
  readonly argv: readonly string[];
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** The program that is run as the engine. */
  readonly engineEntry: string;
  readonly print: (text: string) => void;
  readonly printError: (text: string) => void;
}

export interface RunPaths {
  /** Name of the pool. */
  readonly pool: string;
  readonly poolFolder: string;
  /** Made in a new pool. */
  readonly firstVolume: { readonly name: string; readonly sizeBytes: number };
  readonly apiSocket: string;
  readonly engineSocket: string;
  readonly engineLog: string;
  readonly engineCache: string;
  readonly daemonLog: string;
  readonly daemonCache: string;
  readonly lock: string;
  readonly pid: string;
  readonly catalog: string;
}

/** Signals that ask the daemon to stop. */
export interface StopSignals {
  /** Resolves to the first one's name. */
  readonly asked: Promise<string>;
}

/** Serves until it is told to stop; the folders of `paths` exist. Resolves to the exit code; rejects with OperationError. */
export async function startDaemon(
  settings: Settings,
  paths: RunPaths,
  environment: DaemonEnvironment,
): Promise<number> {
  const lock = tryLockFile(paths.lock);
  if (lock === undefined) {
    const owner = readTail(paths.pid, 0, 20).trim();
    const message = `another tidemark daemon (process ${owner}) runs on ${settings.dataDir}`;
    throw new OperationError(
      'conflict',
      message,
      'stop it first, or give another folder with --data DIR',
    );
  }
  try {
    writeSmallFile(paths.pid, `${process.pid}\n`);
    // Before there is an engine: a signal that nobody listens to would end this process and leave the engine to itself.
    const signals = stopSignals(environment);
    const launcher = new EngineLauncher({
      entry: environment.engineEntry,
      pool: paths.pool,
      poolFolder: paths.poolFolder,
      socket: paths.engineSocket,
      logPath: paths.engineLog,
      cacheFolder: paths.engineCache,
      poolSizeBytes: settings.poolSizeBytes,
      firstVolume: paths.firstVolume,
    });
    await launcher.startAhead();
    try {
      const { serve } = await import('./daemon.ts');
      return await serve(settings, paths, { environment, launcher, signals });
    } finally {
      launcher.dropAhead();
    }
  } finally {
    removeFile(paths.pid);
    lock.release();
  }
}

function stopSignals(environment: DaemonEnvironment): StopSignals {
  const asked = Promise.withResolvers<string>();
  onStopSignal(asked.resolve, (signal) => {
    environment.print(`${signal} again: leaving at once; the engine finishes closing by itself\n`);
    process.exit(1);
  });
  return { asked: asked.promise };
}
