/**
 * The engine put together: one pool, its volumes and its front ends, on the clocks and settings that the entry gives it.
 *
 *     lock ─▶ recovery ─▶ pool open ─▶ first volume (new pool) ─▶ control socket ─▶ the daemon says where to listen
 *
 * Exit codes: 0 stopped as asked · 3 another process has the pool · 4 the pool cannot be opened · 70 a write or flush
 * failed (fail-stop: recovery decides at the next start) · anything else is a crash.
 */
import { flushCompileCache } from 'node:module';
import { assert } from '../base/assert.ts';
import { OperationError, type Outcome, toError } from '../base/errors.ts';
import type { Log } from '../base/ports.ts';
import { StagingDoor } from '../device/staging-door.ts';
import { systemClock, systemRandom } from '../host/clock.ts';
import { availableMemoryBytes, totalMemoryBytes } from '../host/memory.ts';
import { onCrash } from '../host/signals.ts';
import { systemTimers } from '../host/timers.ts';
import { NbdServer } from '../nbd/server.ts';
import { jsonLog } from '../telemetry/log.ts';
import { defaultSettings, type StoreSettings } from '../volume/limits.ts';
import { type OpenedPool, openPool } from '../volume/pool-open.ts';
import { newCdp } from './cdp-handlers.ts';
import { PoolExports } from './exports.ts';
import { engineHandlers } from './handlers.ts';
import { IscsiFront } from './iscsi-front.ts';
import { NbdListeners } from './listeners.ts';
import type { PoolClaim } from './pool-claim.ts';
import { type HostClocks, productionHost } from './pool-host.ts';
import { type EngineRpcServer, serveEngineRpc } from './rpc.ts';

const exitCode = { locked: 3, refused: 4, failStop: 70 } as const;
/** The page cache is thought to keep this share of the memory that is free at start for our segments. */
const pageCacheShare = 0.6;
/** Part of the memory that maps may take. */
const mapShare = 0.25;
/** Of the time given for a stop, this share may go into waiting for clients. */
const drainShare = 0.6;

export interface EngineSettings {
  /** The pool's folder, and what was taken of it. */
  readonly claim: PoolClaim;
  /** Its name. */
  readonly pool: string;
  /** Of the control socket. */
  readonly socket: string;
  /** Of a new pool; undefined = by the free space. */
  readonly poolSizeBytes: number | undefined;
  /** Made in a new pool. */
  readonly firstVolume: { readonly name: string; readonly sizeBytes: number } | undefined;
  readonly store: Omit<StoreSettings, 'manifestPath' | 'mapBytes'>;
  readonly clocks: HostClocks;
}

/** The store's settings and clocks of an engine that serves. */
export const usualSettings: Pick<EngineSettings, 'store' | 'clocks'> = {
  store: { ...defaultSettings, cleaner: 'auto' },
  clocks: { clock: systemClock, logClock: systemClock },
};

/** Runs until somebody asks it to stop; the process ends with it, also when it cannot begin. */
export async function runEngine(settings: EngineSettings): Promise<void> {
  const log = jsonLog(2, 'engine');
  onCrash((error) => {
    log.error('the engine ends by its own mistake', { error: error.stack });
  });
  try {
    await run(settings, log);
  } catch (thrown) {
    const error = toError(thrown);
    assert(error instanceof OperationError, error.stack ?? error.message);
    log.error(error.message, error.hint === undefined ? {} : { hint: error.hint });
    process.exit(exitCode.refused);
  }
}

async function open(settings: EngineSettings, log: Log): Promise<OpenedPool> {
  const failStop = (message: string): void => {
    log.error('a write or flush failed; the engine stops and recovery decides', { error: message });
    process.exit(exitCode.failStop);
  };
  const { clocks } = settings;
  const { folder, commit } = settings.claim;
  const host = productionHost({ folder, log, clocks, commit }, (error) => {
    log.error('a helper thread died; the engine stops', { error: error.stack });
    process.exit(exitCode.failStop);
  });
  const outcome = await new Promise<Outcome<OpenedPool>>((resolve) => {
    const options = {
      name: settings.pool,
      settings: {
        ...settings.store,
        mapBytes: Math.floor(totalMemoryBytes() * mapShare),
        manifestPath: `${folder}/manifest.db`,
      },
      capacityBytes: settings.poolSizeBytes,
      pageCacheBytes: availableMemoryBytes() * pageCacheShare,
      onFailed: failStop,
    };
    openPool(host, options, resolve);
  });
  if (!outcome.ok) throw outcome.error;
  return outcome.value;
}

async function createFirstVolume(opened: OpenedPool, settings: EngineSettings): Promise<void> {
  const { firstVolume } = settings;
  if (firstVolume === undefined || !opened.pool.isUntouched) return;
  await new Promise<void>((resolve, reject) => {
    opened.pool.volumeCreate({ ...firstVolume, ...newCdp({}) }, (outcome) => {
      if (outcome.ok) resolve();
      else reject(outcome.error);
    });
  });
}

async function run(settings: EngineSettings, log: Log): Promise<void> {
  const { clock } = settings.clocks;
  const startedMs = clock.wallMs();
  const began = clock.monotonicMs();
  const { lock } = settings.claim;
  if (lock === undefined) {
    log.error(`pool ${settings.pool} is in use by another process`);
    process.exit(exitCode.locked);
  }
  const opened = await open(settings, log);
  const openMs = clock.monotonicMs() - began;
  await createFirstVolume(opened, settings);
  const exports = new PoolExports(opened.pool);
  const staging = new StagingDoor(opened.pool.staging);
  const nbd = new NbdServer({
    exports,
    staging,
    timers: systemTimers,
    log,
  });
  const listeners = new NbdListeners(nbd);
  const iscsi = new IscsiFront(opened.pool, {
    staging,
    timers: systemTimers,
    clock,
    random: systemRandom,
    log,
  });
  let rpc: EngineRpcServer | undefined;
  const stop = async (withinMs: number): Promise<void> => {
    log.info('stopping', { withinMs });
    listeners.close();
    const drained = new Promise<void>((resolve) => {
      nbd.stop(withinMs * drainShare, resolve);
    });
    await Promise.all([drained, iscsi.stop(withinMs * drainShare)]);
    await new Promise<void>((resolve) => {
      opened.pool.close(resolve);
    });
    lock.release();
    log.info('stopped');
    void rpc?.close(withinMs).finally(() => process.exit(0));
  };
  const parts = {
    opened,
    exports,
    nbd,
    listeners,
    iscsi,
    clock,
    startedMs,
    openMs,
    pid: process.pid,
    stop,
  };
  rpc = await serveEngineRpc(settings.socket, engineHandlers(parts), {
    log,
    timers: systemTimers,
  });
  const { readOnlyReason } = opened.pool;
  if (readOnlyReason !== undefined) log.error('the pool is read-only', { reason: readOnlyReason });
  // A killed engine could not keep its compiled code: keep it now, and the next start is faster.
  flushCompileCache();
  log.info('pool open', { pool: settings.pool, openMs: Math.round(openMs), ...opened.recovery });
}
