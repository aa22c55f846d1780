/**
 * The daemon behind its start (`first-start.ts`): builds every room of the control plane once and owns the order of start and stop.
 *
 *     logs → catalog → supervisor ⇄ engine process ─ listeners ─ first I/O ─ API loaded, on DIR/run/daemon.sock
 *
 * The engine is a process of its own and goes on serving whatever happens to this one; only a stop that was asked for
 * (SIGTERM, SIGINT, SIGHUP) stops it too. Clients wait for the engine: the API, which takes longest to load, is not loaded
 * before they are served, unless that takes long.
 */
import { flushCompileCache } from 'node:module';
import type { buildApi, Controls } from './api/server.ts';
import { toError } from './base/errors.ts';
import type { Log } from './base/ports.ts';
import { Catalog } from './catalog/catalog.ts';
import { HostControl } from './control/host-control.ts';
import { IscsiControl } from './control/iscsi-control.ts';
import { API_PATIENCE_MS, STOP_WITHIN_MS } from './control/limits.ts';
import { LunControl } from './control/lun-control.ts';
import { PoolControl } from './control/pool-control.ts';
import { PortalControl } from './control/portal-control.ts';
import { SessionControl } from './control/session-control.ts';
import type { Settings } from './control/settings.ts';
import { EngineSupervisor } from './control/supervisor.ts';
import { TlsControl } from './control/tls-control.ts';
import { welcomeText } from './control/welcome.ts';
import { connectEngine } from './engine/client.ts';
import type { NbdListen, NbdTls } from './engine/protocol.ts';
import type { EngineLauncher } from './engine-launcher.ts';
import type { DaemonEnvironment, RunPaths, StopSignals } from './first-start.ts';
import { systemClock, systemRandom } from './host/clock.ts';
import { isProcessAlive, processSignal } from './host/process.ts';
import { ensurePrivateFile, removeFile, rotateLog } from './host/run-folder.ts';
import { onCrash } from './host/signals.ts';
import { systemTimers } from './host/timers.ts';
import { bothLogs, humanLog, jsonLog } from './telemetry/log.ts';

/** What was there before this code was loaded. */
export interface DaemonStart {
  readonly environment: DaemonEnvironment;
  /** It may have started an engine already. */
  readonly launcher: EngineLauncher;
  readonly signals: StopSignals;
}

/** Serves until it is told to stop; the caller holds the daemon's lock. Resolves to the exit code; rejects with OperationError. */
export async function serve(
  settings: Settings,
  paths: RunPaths,
  start: DaemonStart,
): Promise<number> {
  rotateLog(paths.daemonLog);
  const fileLog = jsonLog(paths.daemonLog, 'daemon');
  onCrash((error) => {
    fileLog.error('the daemon ends by its own mistake', { error: error.stack });
  });
  const log = bothLogs(fileLog, humanLog(systemClock, start.environment.print));
  // Secrets are in it: nobody else may read it, also when somebody put a copy of it back.
  ensurePrivateFile(paths.catalog);
  const catalog = new Catalog(paths.catalog);
  try {
    return await serveFrom(settings, paths, { ...start, log, fileLog, catalog });
  } finally {
    catalog.close();
  }
}

interface DaemonParts extends DaemonStart {
  readonly catalog: Catalog;
  /** What a person should see, too. */
  readonly log: Log;
  readonly fileLog: Log;
}

async function serveFrom(settings: Settings, paths: RunPaths, parts: DaemonParts): Promise<number> {
  const { launcher, signals, log, fileLog, catalog } = parts;
  const tls = new TlsControl(settings, systemClock, log);
  const listenerTls = await tls.listenerTls();
  const clock = systemClock;
  const firstVolume = paths.firstVolume.name;
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
    {
      connect: async () => await connectEngine(paths.engineSocket, timers),
      takeAhead: () => launcher.takeAhead(),
      spawn: async () => await launcher.spawn(),
      isAlive: isProcessAlive,
      signal: processSignal,
      logText: () => launcher.logText(),
      timers,
      clock,
      random: systemRandom,
      log,
    },
  );
  const controls: Controls = {
    pool: new PoolControl(supervisor, iscsi, clock),
    hosts: new HostControl(supervisor, iscsi, clock),
    luns: new LunControl(supervisor, iscsi, clock),
    sessions: new SessionControl(supervisor, iscsi),
    portals: new PortalControl(iscsi),
    tls,
  };
  const started = supervisor.start();
  // How it ends is asked for below, when the API is there.
  started.catch(() => undefined);
  let api: ApiServer | undefined;
  try {
    await Promise.race([settledOrLate(started), signals.asked]);
    api = await openApi(paths.apiSocket, controls, fileLog);
    const isServing = await Promise.race([
      started.then(() => true),
      signals.asked.then(() => false),
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
  const signal = await signals.asked;
  log.info(`${signal}: stopping`);
  await api.close();
  controls.pool.operations.stop();
  iscsi.stop();
  await supervisor.stop(STOP_WITHIN_MS);
  log.info('stopped');
  return 0;
}

/** Returns when `started` has settled, or when it takes so long that somebody may want to ask why. */
async function settledOrLate(started: Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = systemTimers.after(API_PATIENCE_MS, resolve);
    const settled = (): void => {
      timer.cancel();
      resolve();
    };
    started.then(settled, settled);
  });
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
