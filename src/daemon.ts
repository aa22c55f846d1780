/**
 * The daemon behind its entry (`main.ts`): builds every room of the control plane once and owns the order of start and stop.
 *
 *     lock → logs → catalog → supervisor ⇄ engine process ─ listeners ─ first I/O
 *                                 └ meanwhile: API loaded, on DIR/run/daemon.sock
 *
 * The engine is a process of its own and goes on serving whatever happens to this one; only a stop that was asked for
 * (SIGTERM, SIGINT, SIGHUP) stops it too. Clients wait for the engine: the API, which takes longest to load, is not loaded
 * before the engine is on its way.
 */
import { flushCompileCache } from 'node:module';
import type { buildApi, Controls } from './api/server.ts';
import { OperationError, toError } from './base/errors.ts';
import type { Log } from './base/ports.ts';
import { Catalog } from './catalog/catalog.ts';
import { HostControl } from './control/host-control.ts';
import { IscsiControl } from './control/iscsi-control.ts';
import { LAST_WORDS_BYTES, STOP_WITHIN_MS } from './control/limits.ts';
import { LunControl } from './control/lun-control.ts';
import { PoolControl } from './control/pool-control.ts';
import { PortalControl } from './control/portal-control.ts';
import { SessionControl } from './control/session-control.ts';
import type { Settings } from './control/settings.ts';
import { EngineSupervisor, type SupervisorHost } from './control/supervisor.ts';
import { TlsControl } from './control/tls-control.ts';
import { welcomeText } from './control/welcome.ts';
import { connectEngine } from './engine/client.ts';
import { engineNodeArguments, engineVariables } from './engine/process-options.ts';
import type { NbdListen, NbdTls } from './engine/protocol.ts';
import { systemClock, systemRandom } from './host/clock.ts';
import { isProcessAlive, processSignal, spawnDetached } from './host/process.ts';
import {
  ensurePrivateFile,
  fileSize,
  readTail,
  removeFile,
  rotateLog,
  tryLockFile,
  writeSmallFile,
} from './host/run-folder.ts';
import { onCrash, onStopSignal } from './host/signals.ts';
import { systemTimers } from './host/timers.ts';
import { bothLogs, humanLog, jsonLog } from './telemetry/log.ts';

const FIRST_VOLUME = { name: 'lun0', sizeBytes: 16 * 1024 ** 3 };

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

/** Serves until it is told to stop; the folders of `paths` exist. Resolves to the exit code; rejects with OperationError. */
export async function serve(
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
    rotateLog(paths.daemonLog);
    const fileLog = jsonLog(paths.daemonLog, 'daemon');
    onCrash((error) => {
      fileLog.error('the daemon ends by its own mistake', { error: error.stack });
    });
    const log = bothLogs(fileLog, humanLog(systemClock, environment.print));
    // Secrets are in it: nobody else may read it, also when somebody put a copy of it back.
    ensurePrivateFile(paths.catalog);
    const catalog = new Catalog(paths.catalog);
    try {
      return await serveLocked(settings, paths, { environment, log, fileLog, catalog });
    } finally {
      catalog.close();
    }
  } finally {
    removeFile(paths.pid);
    lock.release();
  }
}

interface DaemonParts {
  readonly environment: DaemonEnvironment;
  readonly catalog: Catalog;
  /** What a person should see, too. */
  readonly log: Log;
  readonly fileLog: Log;
}

async function serveLocked(
  settings: Settings,
  paths: RunPaths,
  parts: DaemonParts,
): Promise<number> {
  const { environment, log, fileLog, catalog } = parts;
  const tls = new TlsControl(settings, systemClock, log);
  const listenerTls = await tls.listenerTls();
  const clock = systemClock;
  const firstVolume = FIRST_VOLUME.name;
  const timers = systemTimers;
  const iscsi = new IscsiControl({ settings, firstVolume, catalog, timers, clock, log });
  const supervisor = new EngineSupervisor(
    {
      pool: paths.pool,
      logPath: paths.engineLog,
      nbd: nbdListen(settings, listenerTls),
      configureIscsi: async (door, open) => {
        await iscsi.attach(door, open);
      },
    },
    supervisorHost(settings, paths, environment.engineEntry, log),
  );
  const controls: Controls = {
    pool: new PoolControl(supervisor, iscsi, clock),
    hosts: new HostControl(supervisor, iscsi, clock),
    luns: new LunControl(supervisor, iscsi, clock),
    sessions: new SessionControl(supervisor, iscsi),
    portals: new PortalControl(iscsi),
    tls,
  };
  const stopAsked = Promise.withResolvers<string>();
  onStopSignal(stopAsked.resolve, (signal) => {
    log.warn(`${signal} again: leaving at once; the engine finishes closing by itself`);
    process.exit(1);
  });
  const started = supervisor.start();
  // How it ends is asked for below, when the API is there.
  started.catch(() => undefined);
  let api: ApiServer | undefined;
  try {
    await supervisor.underWay;
    api = await openApi(paths.apiSocket, controls, fileLog);
    const isServing = await Promise.race([
      started.then(() => true),
      stopAsked.promise.then(() => false),
    ]);
    if (isServing) await greet(settings, controls.pool, parts);
  } catch (thrown) {
    fileLog.error('start failed', { error: toError(thrown).message });
    await supervisor.abandon(STOP_WITHIN_MS);
    await api?.close();
    throw thrown;
  }
  // A killed daemon could not keep its compiled code: keep it now, and the next start is faster.
  flushCompileCache();
  const signal = await stopAsked.promise;
  log.info(`${signal}: stopping`);
  await api.close();
  controls.pool.operations.stop();
  iscsi.stop();
  await supervisor.stop(STOP_WITHIN_MS);
  log.info('stopped');
  return 0;
}

type ApiServer = ReturnType<typeof buildApi>;

/** Loads the API and has it listen on the unix socket `path`; the caller closes it. */
async function openApi(path: string, controls: Controls, log: Log): Promise<ApiServer> {
  const { buildApi } = await import('./api/server.ts');
  const api = buildApi(controls, log);
  removeFile(path);
  await api.listen({ path });
  return api;
}

function nbdListen(settings: Settings, tls: NbdTls | undefined): NbdListen {
  const tcp = { address: settings.listenAddress, port: settings.nbdPort };
  return {
    tcp: tls === undefined ? tcp : { ...tcp, tls },
    socketPath: settings.nbdSocketPath,
  };
}

async function greet(settings: Settings, control: PoolControl, parts: DaemonParts): Promise<void> {
  const pool = await control.poolShow();
  parts.environment.print(welcomeText(settings, pool, await control.volumeList()));
  if (isOpenToAll(settings)) {
    parts.log.warn(
      `NBD on ${settings.listenAddress} is neither encrypted nor does it ask who connects: ` +
        'use --nbd-tls required with --nbd-tls-client-certificates required or --nbd-tls-psk',
    );
  }
  const { poolSizeBytes } = settings;
  if (poolSizeBytes !== undefined && poolSizeBytes !== pool.capacityBytes) {
    parts.log.warn(
      `the pool's capacity is ${pool.capacityBytes} bytes, not the ${poolSizeBytes} given: ` +
        '--pool-size is for a new pool; change this one with: tidemark pool resize',
    );
  }
}

/** Whether others than this machine reach the NBD port, in the clear. */
function isOpenToAll({ nbdTls, listenAddress }: Settings): boolean {
  return nbdTls === 'off' && !/^(?:127\.[\d.]+|::1|localhost)$/.test(listenAddress);
}

function supervisorHost(
  settings: Settings,
  paths: RunPaths,
  engineEntry: string,
  log: Log,
): SupervisorHost {
  const engineArguments = [
    ...engineNodeArguments,
    engineEntry,
    '--pool-dir',
    paths.poolFolder,
    '--pool',
    paths.pool,
    '--socket',
    paths.engineSocket,
    '--first-volume',
    `${FIRST_VOLUME.name}:${FIRST_VOLUME.sizeBytes}`,
  ];
  if (settings.poolSizeBytes !== undefined) {
    engineArguments.push('--pool-size', String(settings.poolSizeBytes));
  }
  let logStart = fileSize(paths.engineLog);
  return {
    connect: async () => await connectEngine(paths.engineSocket, systemTimers),
    spawn: async () => {
      rotateLog(paths.engineLog);
      logStart = fileSize(paths.engineLog);
      return await spawnDetached({
        command: process.execPath,
        arguments: engineArguments,
        logPath: paths.engineLog,
        variables: engineVariables(paths.engineCache),
      });
    },
    isAlive: isProcessAlive,
    signal: processSignal,
    logText: () => readTail(paths.engineLog, logStart, LAST_WORDS_BYTES),
    timers: systemTimers,
    clock: systemClock,
    random: systemRandom,
    log,
  };
}
