/** tidemark pool ... */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type {
  Operation,
  OperationList,
  PoolRebuildOperation,
  PoolVerifyOperation,
} from '../contract/operation.ts';
import type { Pool, PoolSetLimits } from '../contract/pool.ts';
import { addCleanAction, cleanerLines } from './cleaner.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode, usageFailure } from './failure.ts';
import { facts, formatDuration, formatTime, table } from './format.ts';
import { addScrubCommands, scrubLine } from './scrub.ts';
import { exactSize, sizeArgument, sizeHelp } from './size-argument.ts';
import { watch } from './watch.ts';

/** Volumes whose past is left alone that are shown by name. */
const UNTOUCHED_NAMED_MAX = 8;

export function addPoolCommands(program: Command, session: () => Session): void {
  const pool = program.command('pool').description('the pool that holds all volumes');
  pool
    .command('status')
    .description('state, space and engine of the pool')
    .action(async () => {
      await poolStatus(session());
    });
  pool
    .command('verify')
    .description('read every block of the log and check it')
    .action(async () => {
      await poolVerify(session());
    });
  pool
    .command('rebuild')
    .description('make the manifest again from the log')
    .action(async () => {
      await poolRebuild(session());
    });
  pool
    .command('operations')
    .description('long work that was started: what runs, how it ended, what was lost')
    .action(async () => {
      await poolOperations(session());
    });
  pool
    .command('limits <soft> <hard>')
    .description(
      'from how many percent of the capacity on writes are slowed down, and refused for thin volumes (85 95)',
    )
    .action(async (soft: string, hard: string) => {
      await poolSetLimits(session(), { softPercent: Number(soft), hardPercent: Number(hard) });
    });
  pool
    .command('resize <size>')
    .description(`set the capacity of the pool (${sizeHelp})`)
    .action(async (size: string) => {
      await poolResize(session(), sizeArgument(size));
    });
  addCleanAction(pool.command('clean'), session);
  const scrub = pool.command('scrub').description('slow, continuous reading of all that is stored');
  addScrubCommands(scrub, session);
}

async function poolStatus(session: Session): Promise<void> {
  const pool = await session.send<Pool>('GET', '/v1/pool');
  session.show(pool, (answer) => poolText(answer, session.clock.wallMs()));
}

async function poolResize(session: Session, capacityBytes: number): Promise<void> {
  const pool = await session.send<Pool>('POST', '/v1/pool/resize', { capacityBytes });
  session.show(
    pool,
    (answer) => `pool ${answer.name} has a capacity of ${exactSize(answer.capacityBytes)}`,
  );
}

async function poolSetLimits(session: Session, limits: PoolSetLimits): Promise<void> {
  if (!Object.values(limits).every(Number.isFinite)) {
    throw usageFailure('limits are percent of the capacity', 'say: tidemark pool limits 85 95');
  }
  const pool = await session.send<Pool>('POST', '/v1/pool/limits', limits);
  session.show(
    pool,
    ({ name, softLimitBytes, writeLimitBytes }) =>
      `pool ${name}: writes are slowed down from ${formatSize(softLimitBytes)} on, and refused for thin volumes from ${formatSize(writeLimitBytes)} on`,
  );
}

async function poolVerify(session: Session): Promise<void> {
  const started = await session.send<PoolVerifyOperation>('POST', '/v1/pool/verify');
  const operation = await watch(session, started, 'verify');
  session.show(operation, (answer) => verifyText(answer));
  if ((operation.result?.faultCount ?? 0) === 0) return;
  const message = 'the pool has faults';
  const hint = 'reads of these blocks answer with an error; restore them from a copy';
  throw new CommandFailure(ExitCode.failed, { code: 'internal', message, hint });
}

async function poolRebuild(session: Session): Promise<void> {
  const started = await session.send<PoolRebuildOperation>('POST', '/v1/pool/rebuild');
  const operation = await watch(session, started, 'rebuild');
  session.show(operation, (answer) => rebuildText(answer));
}

async function poolOperations(session: Session): Promise<void> {
  const list = await session.send<OperationList>('GET', '/v1/operations');
  session.show(list, ({ operations }) => {
    if (operations.length === 0) return 'nothing was started since the daemon was';
    const nowMs = session.clock.wallMs();
    const head = ['ID', 'WHAT', 'STATE', 'STARTED'];
    const rows = operations.map(({ id, kind, startedMs, ...rest }) => [
      id,
      kind,
      stateText(rest),
      formatTime(startedMs, nowMs),
    ]);
    const failures = operations.flatMap(({ id, error }) =>
      error === undefined ? [] : [`${id}: ${error.message}${hintText(error)}`],
    );
    return [table(head, rows, new Set()), ...failures].join('\n');
  });
}

function stateText({ state, progress }: Pick<Operation, 'state' | 'progress'>): string {
  if (state !== 'running' || progress === undefined) return state;
  return `${state}, ${progress.done} of ${progress.total} ${progress.unit}`;
}

function hintText({ hint }: NonNullable<Operation['error']>): string {
  return hint === undefined ? '' : ` (${hint})`;
}

function poolText(pool: Pool, nowMs: number): string {
  const { recovery, engine, nbd } = pool;
  const usedPercent = ((pool.usedBytes / pool.effectiveCapacityBytes) * 100).toFixed(1);
  const state = pool.stateReason === undefined ? pool.state : `${pool.state}: ${pool.stateReason}`;
  const before = recovery.wasClean
    ? 'after a clean stop'
    : `recovered ${count(recovery.tailFrames, 'frame')}`;
  const opened = pool.epoch === 1 ? 'new' : before;
  const pairs: [string, string][] = [
    ['pool', pool.name],
    ['state', state],
    ['capacity', capacityText(pool)],
    ['used', `${formatSize(pool.usedBytes)} (${usedPercent} %)`],
    ['stored', storedText(pool.stored)],
    ['writes', writesText(pool)],
  ];
  if (pool.reservedBytes > 0) {
    pairs.push(['reserved', reservedText(pool)]);
  }
  for (const { volume, bytesPerSecond } of pool.throttled) {
    pairs.push(['slowed down', `${volume}, to ${formatSize(bytesPerSecond)}/s`]);
  }
  for (const event of pool.relief) pairs.push(['relief', reliefText(event, nowMs)]);
  if (pool.untouched.length > 0) pairs.push(['left alone', untouchedText(pool.untouched)]);
  if (pool.fullReason !== undefined) pairs.push(['full', pool.fullReason]);
  pairs.push(
    ['file system', `${formatSize(pool.fileSystemFreeBytes)} free`],
    ['volumes', String(pool.volumeCount)],
    ['views', String(pool.viewCount)],
    ['snapshots', String(pool.snapshotCount)],
    ['segments', `${pool.segmentCount}, ${pool.readySegmentCount} ready`],
    ['log end', `${pool.durableThrough} (epoch ${pool.epoch})`],
    ['map', `${formatSize(pool.mapBytes)} of RAM, at most ${formatSize(pool.mapBytesMax)}`],
    ...cleanerLines(pool.cleaner, nowMs),
    ['scrub', scrubLine(pool.scrub, nowMs)],
    [
      'opened',
      `${opened}, ${formatSize(recovery.logBytes)} of log in ${formatDuration(recovery.durationMs)}`,
    ],
    [
      'engine',
      `process ${engine.pid}, since ${formatTime(engine.startedMs, nowMs)}, ${count(engine.restartCount, 'restart')}`,
    ],
    ['nbd', listenerText(nbd)],
    ['iscsi', iscsiText(pool.iscsi)],
    ['uuid', pool.uuid],
  );
  return facts(pairs);
}

function capacityText({
  capacityBytes,
  effectiveCapacityBytes,
  fileSystemFreeBytes,
}: Pool): string {
  const text = formatSize(capacityBytes);
  if (effectiveCapacityBytes >= capacityBytes) return text;
  return `${text}, effectively ${formatSize(effectiveCapacityBytes)}: the file system has ${formatSize(fileSystemFreeBytes)} free`;
}

function reservedText({ reservedBytes, uncoveredBytes }: Pool): string {
  const text = `${formatSize(reservedBytes)} for thick volumes`;
  if (uncoveredBytes === 0) return text;
  return `${text}, of which the file system has not ${formatSize(uncoveredBytes)}`;
}

function storedText({ segmentBytes, packBytes, runBytes, manifestBytes }: Pool['stored']): string {
  return `${formatSize(segmentBytes)} in segments, ${formatSize(packBytes)} in packs, ${formatSize(runBytes)} of index, ${formatSize(manifestBytes)} of manifest`;
}

function writesText({ softLimitBytes, writeLimitBytes }: Pool): string {
  return `slowed down from ${formatSize(softLimitBytes)} on, refused for thin volumes from ${formatSize(writeLimitBytes)} on`;
}

function reliefText({ text, beganMs, endedMs }: Pool['relief'][number], nowMs: number): string {
  const end = endedMs === undefined ? 'still' : `until ${formatTime(endedMs, nowMs)}`;
  return `${text}, since ${formatTime(beganMs, nowMs)}, ${end}`;
}

/** "the past of db (guaranteed), log (unlimited), when space is short" */
function untouchedText(untouched: Pool['untouched']): string {
  const named = untouched.slice(0, UNTOUCHED_NAMED_MAX);
  const rest = untouched.length - named.length;
  const names = named.map(({ volume, because }) => `${volume} (${because})`).join(', ');
  const more = rest > 0 ? ` and ${rest} more` : '';
  return `the past of ${names}${more}, when space is short`;
}

function iscsiText({ targetName, portals }: Pool['iscsi']): string {
  const places = portals.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  );
  return places.length === 0 ? 'off' : `${places.join(', ')}, target ${targetName}`;
}

function listenerText(nbd: Pool['nbd']): string {
  const listeners: string[] = [];
  if (nbd.socketPath !== undefined) listeners.push(nbd.socketPath);
  if (nbd.tcp !== undefined) {
    const { address, port, tls } = nbd.tcp;
    listeners.push(`${address}:${port}${tls === undefined ? '' : ' (TLS)'}`);
  }
  return listeners.length === 0 ? 'no listener is open' : listeners.join(', ');
}

function verifyText(operation: PoolVerifyOperation): string {
  const { result } = operation;
  if (result === undefined) return 'no result';
  const parts = [
    `${count(result.blocksChecked, 'block')} in ${count(result.segmentsChecked, 'segment')}`,
    count(result.packsChecked, 'pack'),
    count(result.runsChecked, 'index run'),
    'superblock',
  ];
  const left: string[] = [];
  (result.isManifestChecked ? parts : left).push('manifest');
  (result.isLivenessAudited ? parts : left).push('what can be reached');
  const not = left.length === 0 ? '' : ` (not ${left.join(', nor ')})`;
  const checked = `${parts.join(', ')} checked in ${formatDuration(result.durationMs)}${not}`;
  if (result.faultCount === 0) return `${checked}: no faults`;
  const moreCount = result.faultCount - result.faults.length;
  const more = moreCount > 0 ? [`  and ${moreCount} more`] : [];
  const faults = result.faults.map((fault) => `  ${fault}`);
  return [`${checked}: ${count(result.faultCount, 'fault')}`, ...faults, ...more].join('\n');
}

function rebuildText(operation: PoolRebuildOperation): string {
  const { result } = operation;
  if (result === undefined) return 'no result';
  const made = [
    `${count(result.volumeCount, 'volume')} (with views)`,
    count(result.snapshotCount, 'snapshot'),
    `${result.entryCount} index entries`,
  ].join(', ');
  const verdict = result.wasEqual
    ? 'the same as before'
    : 'different from before: the old one was wrong';
  return `manifest made from ${count(result.recordsRead, 'record')} in ${formatDuration(result.durationMs)}: ${made}; ${verdict}`;
}
