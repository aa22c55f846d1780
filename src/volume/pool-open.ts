/**
 * Opening a pool: superblock, recovery, a higher epoch, the helpers, and an EPOCH record; only then is it handed out.
 *
 *     no superblock and no segments ─▶ make the pool
 *     superblock ─▶ recover the log ─▶ epoch + 1 (durable) ─▶ commit and keeper start ─▶ EPOCH durable ─▶ open
 *                                  └▶ rot: read-only, no new epoch, nothing is written
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../base/errors.ts';
import { type Disk, DiskError } from '../base/ports.ts';
import { makeUuid } from '../base/uuid.ts';
import { Staging } from '../device/staging.ts';
import { encodeRecord } from './catalogue/records.ts';
import { makeCommitShared, ringHeaderBytes } from './commit-ring.ts';
import { openHeads } from './core/heads.ts';
import { Maintenance } from './core/maintenance.ts';
import { MapBudget } from './core/map-budget.ts';
import { MomentMaps } from './core/moment-maps.ts';
import type { PoolParts, PoolWriter } from './core/parts.ts';
import { findRuns, openPoolIndex } from './core/pool-index.ts';
import { relogTail } from './core/relog.ts';
import { RunUpkeep } from './core/run-upkeep.ts';
import { SegmentReading } from './core/segment-contents.ts';
import { positionOf, slotSizeBytes } from './format/address.ts';
import { Seeds } from './format/checksum.ts';
import { FormatError } from './format/format-error.ts';
import type { Superblock } from './format/superblock.ts';
import type { RunSet } from './index/run-set.ts';
import { BlockReader } from './io/block-reader.ts';
import { Residency } from './io/residency.ts';
import { SegmentFiles } from './io/segment-files.ts';
import type { KeeperResult } from './keeper-jobs.ts';
import { limits, type StoreSettings } from './limits.ts';
import { CrcTables } from './log/crc-tables.ts';
import { HybridClock } from './log/hybrid-clock.ts';
import { LogWriter } from './log/log-writer.ts';
import { catalogueMutation } from './log/mutation.ts';
import { segmentFolder, segmentPath } from './log/segment-path.ts';
import { SegmentSupply } from './log/segment-supply.ts';
import { LeafStore } from './map/leaf-store.ts';
import { Containers } from './pack/containers.ts';
import { settlePacks } from './pack/settle-packs.ts';
import { Pool } from './pool.ts';
import { superblockOf } from './pool-create.ts';
import type { PoolFiles } from './pool-files.ts';
import type { PoolHost } from './ports.ts';
import { type KnownLog, readKnownLog } from './recovery/manifest.ts';
import { bytesSinceCheckpoint, type Recovered, recoverLog } from './recovery/recover.ts';
import { recoveredLog } from './recovery/recovered-log.ts';
import { writeSuperblock } from './recovery/superblock-file.ts';
import { runInSlices, type Steps } from './steps.ts';

export interface OpenPoolOptions {
  readonly name: string;
  readonly settings: StoreSettings;
  /** Capacity of a pool that is made now; default 90 % of the file system's free space. */
  readonly capacityBytes: number | undefined;
  /** How much the page cache may hold for us (for the choice between direct and deferred reads). */
  readonly pageCacheBytes: number;
  /** A write or flush failed: the process must stop at once; nothing is acknowledged any more. */
  readonly onFailed: (message: string) => void;
}

export interface OpenedPool {
  readonly pool: Pool;
  readonly isNew: boolean;
  readonly recovery: {
    readonly logBytes: number;
    /** Whether all of the log was looked at; else the manifest knew what came before the newest checkpoint. */
    readonly isWhole: boolean;
    readonly tailFrames: number;
    readonly wasClean: boolean;
    /** Records that had to be logged again because the disk refused to keep them where they were. */
    readonly relogged: number;
  };
}

/** Opens the pool in the host's folder, making it when there is none. The caller holds the pool's lock. */
export function openPool(
  host: PoolHost,
  options: OpenPoolOptions,
  done: (outcome: Outcome<OpenedPool>) => void,
): void {
  const opening = new Opening(host, options);
  let read: ReadPool | undefined;
  let files: PoolFiles | undefined;
  let hasBegun = false;
  let isOver = false;
  const failed = (thrown: unknown): void => {
    if (isOver) return;
    // What is no refusal is thrown on.
    const error = refusal(options.name, thrown);
    isOver = true;
    done(failure(error));
  };
  const goOn = (): void => {
    if (isOver || hasBegun || read === undefined || files === undefined) return;
    hasBegun = true;
    runInSlices(host, opening.steps({ ...read, files }, done), failed);
  };
  // Beside what is read here meanwhile.
  host.findFiles((found) => {
    if ('code' in found) {
      failed(new DiskError(found.code, found.message));
      return;
    }
    files = found;
    goOn();
  });
  const reading = function* (): Steps<void> {
    read = yield* opening.read();
    // A turn of its own: what goes wrong there is not this one's.
    host.timers.defer(goOn);
  };
  runInSlices(host, reading(), failed);
}

/** What is read of a pool while its files are looked for. */
interface ReadPool {
  readonly superblock: Superblock;
  readonly containers: Containers;
  readonly known: KnownLog | undefined;
}

function refusal(name: string, thrown: unknown): OperationError {
  if (thrown instanceof FormatError) {
    const hint = thrown.isTooNew
      ? 'Open it with the version that wrote it, or a later one.'
      : 'The files are damaged or not a pool. Restore them, or keep them for analysis; nothing was changed.';
    return new OperationError(
      ErrorCode.internal,
      `pool ${name} cannot be opened: ${thrown.message}`,
      hint,
    );
  }
  if (thrown instanceof DiskError) {
    return new OperationError(
      thrown.code === 'ENOSPC' ? ErrorCode.noSpace : ErrorCode.unavailable,
      `pool ${name} cannot be opened: ${thrown.message}`,
      'Check the disk and the file system, then start again.',
    );
  }
  throw thrown;
}

class Opening {
  readonly #host: PoolHost;
  readonly #options: OpenPoolOptions;
  #isNew = false;

  constructor(host: PoolHost, options: OpenPoolOptions) {
    this.#host = host;
    this.#options = options;
  }

  *read(): Steps<ReadPool> {
    const { superblock, isNew } = superblockOf(this.#host, this.#options);
    this.#isNew = isNew;
    yield;
    const { poolUuid, segmentSlots } = superblock;
    const containers = new Containers(this.#host.disk, segmentSlots, new Seeds(poolUuid));
    yield* containers.load();
    const known = yield* readKnownLog(
      this.#host.openDatabase,
      this.#options.settings.manifestPath,
      {
        poolUuid,
        segmentSlots,
        packed: containers,
      },
    );
    return { superblock, containers, known };
  }

  /** Nobody is served before the end, but a process that opens a pool of many TiB answers meanwhile. */
  *steps(
    { superblock: found, containers, known, files }: ReadPool & { readonly files: PoolFiles },
    done: (outcome: Outcome<OpenedPool>) => void,
  ): Steps<void> {
    const { settings } = this.#options;
    const leaves = new LeafStore();
    const crcTables = new CrcTables(settings.crcTableBytes, found.segmentSlots);
    const seeds = new Seeds(found.poolUuid);
    const read = { superblock: found, leaves, crcTables, containers, known };
    const recovered = yield* recoverLog({ disk: this.#host.disk, files, ...read });
    const isReadOnly = recovered.faults.length > 0;
    const { segments } = recovered;
    const fanOut = settings.runFanOut;
    const runs = yield* findRuns({ ...this.#host, files, fanOut, seeds, segments, isReadOnly });
    if (!isReadOnly) settlePacks(this.#host, containers);
    const superblock = isReadOnly ? found : this.#raiseEpoch(found, recovered);
    const memory = { leaves, crcTables, containers, isReadOnly };
    yield;
    const parts = this.#parts(superblock, recovered, memory);
    const { maintenance } = parts;
    yield;
    const { pool, upkeep, moments } = makePool(parts.parts, { maintenance, recovered, runs });
    parts.attach(pool);
    const opened: OpenedPool = {
      pool,
      isNew: this.#isNew,
      recovery: recoveryOf(recovered, found),
    };
    yield;
    // A read-only pool is evidence: nothing in its folder changes.
    if (!isReadOnly) maintenance.openManifest(recoveredLog(recovered, known));
    const sealOpen = (): void => {
      if (isReadOnly) return;
      for (const segment of recovered.segments.notSealed()) {
        maintenance.segmentFinished(segment.segId, segment.endAddress);
      }
    };
    // A footer ends a segment: not before what lies behind that end is durable elsewhere.
    if (recovered.relog.length === 0) sealOpen();
    if (parts.parts.writer === undefined) done(success(opened));
    else {
      this.#logEpoch(parts.parts, maintenance, () => {
        relogTail({ parts: parts.parts, maintenance, moments }, recovered.relog, () => {
          this.#finishRelog(parts.parts, () => {
            if (recovered.relog.length > 0) sealOpen();
            pool.opened();
            upkeep.start();
            pool.warmUp.start();
            done(success(opened));
          });
        });
      });
    }
  }

  #raiseEpoch(found: Superblock, recovered: Recovered): Superblock {
    this.#host.disk.makeFolder(segmentFolder);
    const epoch = found.epoch + 1;
    // One that is pending stays so: the segments it voids are still there.
    const pending = found.relogEpoch === 0 ? epoch : found.relogEpoch;
    const isPending = found.relogEpoch !== 0 || recovered.relog.length > 0;
    const superblock: Superblock = {
      ...found,
      generation: found.generation + 1,
      epoch,
      relogEpoch: isPending ? pending : 0,
      isClean: false,
      durableThrough: recovered.endAddress,
      segIdHighWater: Math.max(found.segIdHighWater, recovered.nextSegId - 1),
      hlcMsHighWater: Math.max(found.hlcMsHighWater, recovered.lastHlcMs),
    };
    writeSuperblock(this.#host.disk, superblock);
    return superblock;
  }

  /** The tail is durable in its new place: from now on that place counts, and the old one is void. */
  #finishRelog(parts: PoolParts, done: () => void): void {
    const { superblock, writer } = parts;
    if (superblock.relogEpoch !== 0) {
      try {
        parts.superblock = {
          ...superblock,
          generation: superblock.generation + 1,
          durableThrough: writer?.log.durableThrough ?? superblock.durableThrough,
          relogEpoch: 0,
        };
        writeSuperblock(this.#host.disk, parts.superblock);
      } catch (thrown) {
        if (!(thrown instanceof DiskError)) throw thrown;
        this.#options.onFailed(thrown.message);
        return;
      }
    }
    done();
  }

  #parts(
    superblock: Superblock,
    recovered: Recovered,
    memory: {
      readonly leaves: LeafStore;
      readonly crcTables: CrcTables;
      readonly containers: Containers;
      readonly isReadOnly: boolean;
    },
  ): {
    parts: PoolParts;
    maintenance: Maintenance;
    attach: (pool: Pool) => void;
  } {
    const host = this.#host;
    const { leaves, crcTables, containers, isReadOnly } = memory;
    const settings = { ...this.#options.settings, segmentSlots: superblock.segmentSlots };
    const seeds = new Seeds(superblock.poolUuid);
    const staging = new Staging(host.disk.memory(settings.stagingBytes));
    const files = new SegmentFiles(host.disk, containers, limits.openFilesMax);
    const residency = new Residency(this.#options.pageCacheBytes);
    const segmentById = recovered.segments;
    const late: { maintenance?: Maintenance; pool?: Pool } = {};
    const reader = new BlockReader({
      files,
      crcTables,
      residency,
      seeds,
      clock: host.clock,
      log: host.log,
      crcPlace: (segId) => segmentById.get(segId)?.crcPlace,
      mendFooter: (segId, done) => {
        late.maintenance?.mendFooter(segId, done);
      },
    });
    const keeper = host.startKeeper(
      {
        poolUuid: superblock.poolUuid,
        segmentSlots: superblock.segmentSlots,
        manifestPath: settings.manifestPath,
      },
      (result: KeeperResult) => late.maintenance?.onKeeperResult(result),
    );
    const memories = { staging, leaves, crcTables, files, containers };
    const base = { host, settings, seeds, ...memories, reader, keeper };
    const writer = isReadOnly
      ? undefined
      : this.#writer({ ...base, superblock, recovered, segmentById }, late);
    const parts: PoolParts = {
      ...base,
      catalogue: recovered.catalogue,
      lineById: recovered.lineById,
      segmentById,
      writer,
      superblock,
    };
    const maintenance = new Maintenance(parts);
    late.maintenance = maintenance;
    return {
      parts,
      maintenance,
      attach: (pool) => {
        late.pool = pool;
      },
    };
  }

  #writer(
    from: Omit<PoolParts, 'catalogue' | 'lineById' | 'writer'> & { readonly recovered: Recovered },
    late: { maintenance?: Maintenance; pool?: Pool },
  ): PoolWriter {
    const host = this.#host;
    const { superblock, recovered, settings, segmentById } = from;
    const shared = makeCommitShared({
      headers: host.disk.memory(ringHeaderBytes),
      staging: from.staging.slab,
      poolUuid: superblock.poolUuid,
      previousDigest: recovered.digest,
      durableThrough: recovered.endAddress,
    });
    const clock = new HybridClock(host.logClock, superblock.hlcMsHighWater);
    const commit = host.startCommit(shared, () => {
      log.onProgress();
    });
    const first = this.#firstSegment(recovered, superblock.segmentSlots);
    const supply = new SegmentSupply({
      target: settings.readySegments,
      firstSegId: recovered.nextSegId + first.ready.length,
      ...first,
      timers: host.timers,
      order: (order) => {
        from.keeper.post({ kind: 'prepare', ...order });
      },
    });
    const log: LogWriter = new LogWriter({
      shared,
      door: commit,
      segmentSlots: superblock.segmentSlots,
      tail: {
        epoch: superblock.epoch,
        previousSegId: recovered.lastSegId,
        previousEnd: recovered.endAddress,
      },
      clock,
      timers: host.timers,
      supply,
      crcTables: from.crcTables,
      events: {
        segmentOpened: (segId) => {
          segmentById.add({ segId, epoch: superblock.epoch, hlcMs: log.lastHlcMs });
          late.pool?.segmentOpened();
        },
        segmentFinished: (segId, endAddress) => {
          late.maintenance?.segmentFinished(segId, endAddress);
        },
        failed: this.#options.onFailed,
      },
    });
    return { log, supply, commit };
  }

  /**
   * On a full file system the pool must still open, and opening takes a segment: then a file that an earlier run had
   * prepared, whose blocks exist, is used at once.
   */
  #firstSegment(
    recovered: Recovered,
    segmentSlots: number,
  ): { readonly ready: number[]; readonly leftovers: string[] } {
    const { disk } = this.#host;
    const segmentBytes = segmentSlots * slotSizeBytes;
    const leftovers = [...recovered.leftoverPaths];
    const isFull = disk.freeBytes() < limits.fileSystemReserveSegments * segmentBytes;
    const index = isFull ? leftovers.findIndex((path) => fileSize(disk, path) >= segmentBytes) : -1;
    const [path] = index < 0 ? [] : leftovers.splice(index, 1);
    if (path === undefined) return { ready: [], leftovers };
    disk.rename(path, segmentPath(recovered.nextSegId));
    disk.flushFolder(segmentFolder);
    return { ready: [recovered.nextSegId], leftovers };
  }

  /** The first record of this opening: from here on this history differs from any copy's. */
  #logEpoch(parts: PoolParts, maintenance: Maintenance, done: () => void): void {
    const { superblock, writer, catalogue } = parts;
    if (writer === undefined) return;
    const record = {
      kind: 'epoch' as const,
      epoch: superblock.epoch,
      nodeUuid: superblock.nodeUuid,
      openId: makeUuid(this.#host.random),
      startPosition: positionOf(superblock.durableThrough, 0),
    };
    const mutation = catalogueMutation([encodeRecord(record)], (published) => {
      catalogue.apply(record, published.position);
      maintenance.recordPublished({ record, position: published.position });
      writer.supply.start();
      done();
    });
    writer.log.append(mutation);
  }
}

/** The pool with its index, heads and maps of moments, on top of what recovery found. */
function makePool(
  parts: PoolParts,
  from: { readonly maintenance: Maintenance; readonly recovered: Recovered; readonly runs: RunSet },
): { readonly pool: Pool; readonly upkeep: RunUpkeep; readonly moments: MomentMaps } {
  const { maintenance, recovered, runs } = from;
  const endPosition = positionOf(recovered.endAddress, 0);
  const reading = new SegmentReading(parts);
  const late: { upkeep?: RunUpkeep } = {};
  const index = openPoolIndex(parts, { runs, reading }, (place) => late.upkeep?.lost(place));
  openHeads(parts, index.log, endPosition);
  const upkeep = new RunUpkeep(parts, maintenance, index);
  late.upkeep = upkeep;
  const moments = new MomentMaps(parts, index.log);
  const budget = new MapBudget(parts, { moments, index: index.log }, endPosition);
  const { faults, isIncomplete } = recovered;
  const pool = new Pool(
    parts,
    {
      maintenance,
      upkeep,
      index,
      moments,
      budget,
      reading,
      bytesSinceCheckpoint: bytesSinceCheckpoint(recovered),
    },
    faults.length === 0 ? undefined : { reason: readOnlyReason(faults), isIncomplete },
  );
  return { pool, upkeep, moments };
}

function recoveryOf(recovered: Recovered, found: Superblock): OpenedPool['recovery'] {
  return {
    logBytes: recovered.logBytes,
    isWhole: recovered.readFrom === 0,
    tailFrames: recovered.tailFrames,
    wasClean: found.isClean,
    relogged: recovered.relog.length,
  };
}

function fileSize(disk: Disk, path: string): number {
  const file = disk.open(path, { create: false });
  const sizeBytes = file.size();
  file.close();
  return sizeBytes;
}

function readOnlyReason(faults: readonly string[]): string {
  const shown = faults.slice(0, 10).join('; ');
  const more = faults.length > 10 ? `; and ${faults.length - 10} more` : '';
  return `acknowledged data is unreadable: ${shown}${more}`;
}
