/** tidemark space: what the bytes of the pool are there for, and what a deletion would free. */
import type { Command } from 'commander';
import { formatCdpDuration, parseCdpWindow } from '../base/cdp-policy.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { SpaceOperation } from '../contract/operation.ts';
import type { Space, SpaceQuestion } from '../contract/space.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode } from './failure.ts';
import { facts, formatTime, table } from './format.ts';
import { watch } from './watch.ts';

/** Snapshots that are shown in words: those that hold most alone. */
const SNAPSHOTS_SHOWN = 20;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type VolumeSpace = Space['volumes'][number];

export function addSpaceCommand(program: Command, session: () => Session): void {
  program
    .command('space [volume]')
    .description('what the bytes of the pool, or of a volume and its snapshots, are there for')
    .option(
      '--what-if <change>',
      'what would be freed: "delete VOL@SNAPSHOT,VOL@SNAPSHOT,VOL" or "window=14d"; nothing is changed',
    )
    .action(async (volume: string | undefined, { whatIf }: { whatIf?: string }) => {
      await showSpace(session(), {
        ...(volume === undefined ? {} : { volume }),
        ...(whatIf === undefined ? {} : supposed(whatIf)),
      });
    });
}

/** What is supposed. Throws CommandFailure for what cannot be. */
function supposed(whatIf: string): Pick<SpaceQuestion, 'deleted' | 'windowMs'> {
  const [, window] = /^\s*window\s*=\s*(\S+)\s*$/.exec(whatIf) ?? [];
  if (window === undefined) return { deleted: deletionsOf(whatIf) };
  const parsed = parseCdpWindow(window);
  if (
    parsed !== undefined &&
    Number.isFinite(parsed.windowMs) &&
    parsed.windowBytes === undefined
  ) {
    return { windowMs: parsed.windowMs };
  }
  const hint = 'say how long, like "window=14d" or "window=90m"';
  const message = `"${window}" is no window that can be supposed`;
  throw new CommandFailure(ExitCode.usage, { code: 'invalid', message, hint });
}

/** Names behind "delete". Throws CommandFailure for anything else. */
function deletionsOf(whatIf: string): string[] {
  const [, list] = /^\s*delete[\s=]+(.+)$/.exec(whatIf) ?? [];
  const names = (list ?? '').split(',').map((name) => name.trim());
  if (names.every((name) => name !== '')) return names;
  const message = `"${whatIf}" is no change that can be supposed`;
  const hint = 'say "delete VOL@SNAPSHOT", several apart by commas, or "window=14d"';
  throw new CommandFailure(ExitCode.usage, { code: 'invalid', message, hint });
}

async function showSpace(session: Session, question: SpaceQuestion): Promise<void> {
  const started = await session.send<SpaceOperation>('POST', '/v1/pool/space', question);
  const operation = await watch(session, started, 'space');
  const nowMs = session.clock.wallMs();
  session.show(operation, ({ result }) =>
    result === undefined ? 'no result' : spaceText(result, question.volume, nowMs),
  );
}

function spaceText(result: Space, volume: string | undefined, nowMs: number): string {
  const [only] = result.volumes;
  const shown =
    volume === undefined || only === undefined
      ? [poolText(result, nowMs), '', volumesText(result.volumes)]
      : [volumeText(only, result, nowMs)];
  return [...shown, ...whatIfText(result), ...windowText(result, volume)].join('\n');
}

function poolText(space: Space, nowMs: number): string {
  return facts([
    ['as of', formatTime(space.computedMs, nowMs)],
    [
      'segments',
      `${formatSize(space.segmentBytes)} in ${count(space.segmentCount, 'file')}, of which`,
    ],
    ['  held', `${formatSize(space.heldBytes)} by volumes, views, snapshots and undo`],
    [
      '  history',
      `${formatSize(space.historyBytes)} of other past moments that windows and automatic pins keep`,
    ],
    ['  dead', `${formatSize(space.deadBytes)} that nothing refers to: cleaning gives it back`],
    ['  headers', formatSize(space.headerBytes)],
    ['  unwritten', formatSize(space.unwrittenBytes)],
    ['footers', formatSize(space.footerBytes)],
    ...space.growth.map((each): [string, string] => growthFact(each, nowMs)),
  ]);
}

/** How much more is stored than so long ago, and when the pool is full at that rate. */
function growthFact(growth: Space['growth'][number], nowMs: number): [string, string] {
  const { periodMs, bytes, isWritten, softMs, hardMs } = growth;
  const name = `last ${periodName(periodMs)}`;
  if (bytes === undefined) return [name, 'not enough history yet'];
  const what = isWritten === true ? ' written (what was given back meanwhile is not known)' : '';
  const sign = bytes < 0 ? '-' : '+';
  const limits = [
    ...(softMs === undefined ? [] : [`the soft limit is reached ${aheadText(softMs - nowMs)}`]),
    ...(hardMs === undefined ? [] : [`the hard one ${aheadText(hardMs - nowMs)}`]),
  ];
  const ahead = limits.length === 0 ? 'no limit in sight' : limits.join(', ');
  return [name, `${sign}${formatSize(Math.abs(bytes))}${what}; at that rate ${ahead}`];
}

function periodName(periodMs: number): string {
  if (periodMs < DAY_MS) return 'hour';
  return periodMs === DAY_MS ? 'day' : 'week';
}

/** A time that lies ahead. */
function aheadText(aheadMs: number): string {
  const hours = Math.max(0, aheadMs) / HOUR_MS;
  if (hours < 2) return `in ${Math.round(hours * 60)} min`;
  return hours < 48 ? `in ${Math.round(hours)} h` : `in ${Math.round(hours / 24)} days`;
}

function volumesText(volumes: readonly VolumeSpace[]): string {
  const rows = volumes.map((each) => [
    each.name,
    formatSize(each.sizeBytes),
    ...[
      each.presentBytes,
      each.snapshotBytes,
      each.undoBytes,
      each.historyBytes,
      totalOf(each),
    ].map(formatSize),
    formatSize(each.uniqueBytes),
    formatSize(each.sharedBytes),
  ]);
  const numbers = ['SIZE', 'PRESENT', 'SNAPSHOTS', 'UNDO', 'HISTORY', 'TOTAL', 'UNIQUE', 'SHARED'];
  return table(['NAME', ...numbers], rows, new Set(numbers));
}

/** With what it shares: so totals of volumes that share add up to more than the pool holds. */
function totalOf(space: VolumeSpace): number {
  return space.presentBytes + space.snapshotBytes + space.undoBytes + space.historyBytes;
}

function volumeText(volume: VolumeSpace, space: Space, nowMs: number): string {
  const { snapshots } = space;
  const parts = facts([
    [volume.kind, volume.name],
    ['as of', formatTime(space.computedMs, nowMs)],
    ['size', formatSize(volume.sizeBytes)],
    ['uses', `${formatSize(totalOf(volume))}: ${reasonOf(volume)}`],
    ['  present', `${formatSize(volume.presentBytes)} (${formatSize(volume.mappedBytes)} mapped)`],
    ['  snapshots', `${formatSize(volume.snapshotBytes)} that the present no longer has`],
    ['  undo', `${formatSize(volume.undoBytes)} kept for undoing the newest rollback or refresh`],
    [
      '  history',
      `${formatSize(volume.historyBytes)} of other past moments that windows and automatic pins keep`,
    ],
    ['unique', `${formatSize(volume.uniqueBytes)} is held by no other volume or view`],
    ['shared', `${formatSize(volume.sharedBytes)} others hold, too`],
  ]);
  if (snapshots.length === 0) return parts;
  const most = snapshots
    .toSorted((left, right) => right.uniqueBytes - left.uniqueBytes)
    .slice(0, SNAPSHOTS_SHOWN);
  const shown = snapshots.filter((each) => most.includes(each));
  const rows = shown.map((each) => [
    each.name,
    formatTime(each.createdMs, nowMs),
    formatSize(each.mappedBytes),
    formatSize(each.uniqueBytes),
  ]);
  const head = ['SNAPSHOT', 'CREATED', 'MAPPED', 'FREED IF DELETED ALONE'];
  const text = table(head, rows, new Set(['MAPPED', 'FREED IF DELETED ALONE']));
  const hidden = snapshots.length - shown.length;
  const more = hidden === 0 ? [] : [`and ${hidden} more that hold less alone (--json has all)`];
  return [parts, '', text, ...more].join('\n');
}

/** Why it is more than its size, or what most of it is. */
function reasonOf(volume: VolumeSpace): string {
  const past = volume.snapshotBytes + volume.undoBytes + volume.historyBytes;
  const total = totalOf(volume);
  if (total > volume.sizeBytes) {
    return `more than its size, because ${formatSize(past)} of it are states that were overwritten since`;
  }
  return past > volume.presentBytes ? 'most of it past states' : 'most of it its present state';
}

function whatIfText({ whatIf }: Space): string[] {
  if (whatIf === undefined) return [];
  const { deleted, freedBytes, historyBytes } = whatIf;
  const history =
    historyBytes === 0 ? '' : `, and ${formatSize(historyBytes)} of history would be dead`;
  return [
    '',
    `without ${deleted.join(', ')}: ${formatSize(freedBytes)} would be held no longer${history}`,
  ];
}

function windowText({ whatIfWindow }: Space, volume: string | undefined): string[] {
  if (whatIfWindow === undefined) return [];
  const { windowMs, freedBytes } = whatIfWindow;
  const whose = volume === undefined ? 'all windows' : `the window of ${volume}`;
  const what =
    freedBytes === 0
      ? 'nothing that is kept now would be free'
      : `${formatSize(freedBytes)} would be held no longer`;
  return ['', `with ${formatCdpDuration(windowMs)} as ${whose}: ${what}`];
}
