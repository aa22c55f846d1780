/**
 * tidemarkd's entry: settings, folders, and where compiled code is kept; everything else is loaded after that.
 *
 *     settings → folders → compile cache → first-start.ts: lock, engine → daemon.ts: everything else
 *
 * Every file imported here by name is compiled anew at every start: only what is needed to find the cache belongs here.
 */
import { enableCompileCache } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OperationError, toError } from './base/errors.ts';
import { parseSettings, type Settings, settingsHelp } from './control/settings.ts';
import type { DaemonEnvironment, RunPaths } from './first-start.ts';
import { prepareFolder } from './host/run-folder.ts';
import { ignoreLostOutput } from './host/signals.ts';
import { checkSocketPath } from './host/unix-socket.ts';

const POOL = 'main';
const FIRST_VOLUME = { name: 'lun0', sizeBytes: 16 * 1024 ** 3 };
const ENGINE_ENTRY = fileURLToPath(new URL('./engine/process.ts', import.meta.url));

/** Runs the daemon until it is told to stop; resolves to the exit code. */
export async function runDaemon(environment: DaemonEnvironment): Promise<number> {
  try {
    const settings = parseSettings(environment.argv, environment.variables, (path) =>
      resolve(path),
    );
    if (settings === 'help') {
      environment.print(settingsHelp());
      return 0;
    }
    // Everything under DIR is the operator's data or gives orders: nobody else may read or write it.
    process.umask(0o077);
    const paths = runPaths(settings);
    enableCompileCache(paths.daemonCache);
    const { startDaemon } = await import('./first-start.ts');
    return await startDaemon(settings, paths, environment);
  } catch (thrown) {
    environment.printError(errorText(toError(thrown)));
    return 1;
  }
}

function runPaths(settings: Settings): RunPaths {
  const folder = `${settings.dataDir}/run`;
  const paths: RunPaths = {
    pool: POOL,
    firstVolume: FIRST_VOLUME,
    poolFolder: `${settings.dataDir}/pools/${POOL}`,
    apiSocket: `${folder}/daemon.sock`,
    engineSocket: `${folder}/${POOL}.sock`,
    engineLog: `${folder}/${POOL}.log`,
    engineCache: `${folder}/${POOL}.cache`,
    daemonLog: `${folder}/daemon.log`,
    daemonCache: `${folder}/daemon.cache`,
    lock: `${folder}/daemon.lock`,
    pid: `${folder}/daemon.pid`,
    catalog: `${settings.dataDir}/catalog.db`,
  };
  for (const path of [paths.apiSocket, paths.engineSocket, settings.nbdSocketPath]) {
    checkSocketPath(path);
  }
  prepareFolder(settings.dataDir);
  prepareFolder(folder);
  return paths;
}

function errorText(error: Error): string {
  const hint = error instanceof OperationError ? error.hint : undefined;
  return `tidemark: ${error.message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`;
}

if (import.meta.main) {
  ignoreLostOutput();
  process.exitCode = await runDaemon({
    argv: process.argv.slice(2),
    variables: process.env,
    engineEntry: ENGINE_ENTRY,
    print: (text) => process.stdout.write(text),
    printError: (text) => process.stderr.write(text),
  });
}
