/** tidemark volume history: where a volume was rolled back, how much changed when, and when nothing did. */
import { formatMomentTime } from '../base/moment.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Rate } from '../contract/history.ts';
import type { Snapshot, SnapshotList } from '../contract/snapshot.ts';
import type { Cdp, Line, Volume, VolumeHistory } from '../contract/volume.ts';
import { cdpFacts } from './cdp.ts';
import type { Session } from './command-session.ts';
import { facts, formatDate, formatDuration, formatTime, table } from './format.ts';
import { momentArgument } from './moment-argument.ts';

/** Snapshots of one line that are named in a table; of more only the first, the last and their number. */
const NAMED_SNAPSHOTS_MAX = 4;
/** Quiet gaps that are shown: shorter ones are no news. */
const GAPS_SHOWN = 5;
const GAP_SHOWN_MS = 1000;
/** Snapshots that were named afterwards, shown by name. */
const PAST_SNAPSHOTS_SHOWN = 5;
const levels = '▁▂▃▄▅▆▇█';
const noChange = '·';

export interface HistoryOptions {
  readonly since?: string;
  readonly until?: string;
  readonly kept?: boolean;
}

interface History {
  readonly cdp: Cdp;
  readonly lines: VolumeHistory['lines'];
  readonly kept: VolumeHistory['kept'];
  readonly snapshots: SnapshotList['snapshots'];
  readonly rate: Omit<Rate, 'windowFromMs'>;
}

export async function volumeHistory(
  session: Session,
  { name, path }: { readonly name: string; readonly path: string },
  { since, until, kept: isKeptShown = false }: HistoryOptions,
): Promise<void> {
  const query = new URLSearchParams({
    ...(since === undefined ? {} : { from: momentArgument(since) }),
    ...(until === undefined ? {} : { to: momentArgument(until) }),
  });
  const { lines, kept } = await session.send<VolumeHistory>('GET', `${path}/history`);
  const { cdp } = await session.send<Volume>('GET', path);
  const { snapshots } = await session.send<SnapshotList>('GET', `${path}/snapshots`);
  const { windowFromMs: _windowFromMs, ...rate } = await session.send<Rate>(
    'GET',
    `${path}/rate?${query.toString()}`,
  );
  const history: History = { cdp, lines, kept, snapshots, rate };
  session.show(history, (shown) => {
    const nowMs = session.clock.wallMs();
    return isKeptShown ? keptText(shown, nowMs) : historyText(name, shown, nowMs);
  });
}

function historyText(name: string, history: History, nowMs: number): string {
  const { lines, snapshots, rate, cdp, kept } = history;
  const past = snapshots.filter(({ momentMs }) => momentMs !== undefined);
  return [
    linesText(name, lines, nowMs),
    '',
    facts([
      ...cdpFacts(cdp, nowMs),
      ...keptFacts(name, kept),
      ...rateFacts(rate),
      ...gapFacts(rate.gaps),
      ...past.slice(0, PAST_SNAPSHOTS_SHOWN).map((each) => pastFact(each)),
    ]),
  ].join('\n');
}

/** What is kept before the window, in short. */
function keptFacts(name: string, kept: History['kept']): [string, string][] {
  const pins = kept.filter(({ kind }) => kind === 'pin');
  const snapshotCount = kept.filter(({ kind }) => kind === 'snapshot').length;
  const [first] = pins;
  const last = pins.at(-1);
  if (first === undefined || last === undefined) {
    return snapshotCount === 0 ? [] : [['before it', count(snapshotCount, 'snapshot')]];
  }
  const range = `${formatDate(first.timeMs)} to ${formatDate(last.timeMs)}`;
  const snapshots = snapshotCount === 0 ? '' : `, ${count(snapshotCount, 'snapshot')}`;
  const list = `tidemark volume history ${name} --kept`;
  return [['before it', `${count(pins.length, 'automatic pin')} (${range})${snapshots}; ${list}`]];
}

function keptText({ cdp, kept }: History, nowMs: number): string {
  if (kept.length === 0) {
    return `nothing is given up yet: every moment since ${formatTime(cdp.fromMs, nowMs)} can be opened`;
  }
  const rows = kept.map(({ at, timeMs, kind }) => [
    at,
    formatTime(timeMs, nowMs),
    kind === 'window' ? 'from here on every moment' : kind,
  ]);
  return table(['--at', 'TIME', 'KEPT AS'], rows, new Set());
}

function rateFacts(rate: History['rate']): [string, string][] {
  const { buckets, fromMs, toMs } = rate;
  const written = buckets.map((each) => each.writtenBytes);
  const cleared = buckets.map((each) => each.clearedBytes);
  const changes = buckets.reduce((sum, each) => sum + each.changeCount, 0);
  const pairs: [string, string][] = [
    ['from, until', `${formatDate(fromMs)}, ${formatDate(toMs)}`],
    ['written', `${sparkline(written)}  ${totalText(written)}, ${count(changes, 'change')}`],
  ];
  if (cleared.some((bytes) => bytes > 0)) {
    pairs.push(['trimmed, zeroed', `${sparkline(cleared)}  ${totalText(cleared)}`]);
  }
  const [busiest] = buckets.toSorted((left, right) => right.writtenBytes - left.writtenBytes);
  if (busiest !== undefined && busiest.writtenBytes > 0) {
    const bucketMs = (toMs - fromMs) / buckets.length;
    const when = `${formatDuration(bucketMs)} from ${formatDate(busiest.fromMs)}`;
    pairs.push(['busiest', `${formatSize(busiest.writtenBytes)} in ${when}`]);
  }
  return pairs;
}

function totalText(values: readonly number[]): string {
  return formatSize(values.reduce((sum, value) => sum + value, 0));
}

/** One character a value, as high as its share of the greatest. */
function sparkline(values: readonly number[]): string {
  const most = Math.max(...values);
  return values
    .map((value) => {
      if (value === 0) return noChange;
      return levels[Math.min(levels.length - 1, Math.floor((value / most) * levels.length))];
    })
    .join('');
}

function gapFacts(gaps: Rate['gaps']): [string, string][] {
  const long = gaps.filter(({ fromMs, toMs }) => toMs - fromMs >= GAP_SHOWN_MS);
  return long
    .slice(0, GAPS_SHOWN)
    .map(({ fromMs, toMs, position }, index) => [
      index === 0 ? 'quiet' : '',
      `${formatDuration(toMs - fromMs)} from ${formatDate(fromMs)}; in it: --at position:${position}`,
    ]);
}

function pastFact({ name, at, momentMs, createdMs }: Snapshot): [string, string] {
  const moment = at ?? formatMomentTime(momentMs ?? createdMs);
  return [`snapshot ${name}`, `of ${moment}, named ${formatDate(createdMs)}`];
}

function linesText(name: string, lines: readonly Line[], nowMs: number): string {
  const rows = lines.map((line, index) => {
    const next = lines[index + 1];
    return [
      String(line.line),
      formatTime(line.startedMs, nowMs),
      next === undefined ? 'present' : formatDate(next.startedMs),
      beganByReason[line.reason](line.label),
      snapshotsText(line.snapshots),
    ];
  });
  const head = ['LINE', 'FROM', 'UNTIL', 'HOW IT BEGAN', 'SNAPSHOTS'];
  const text = table(head, rows, new Set(['LINE']));
  const before = lines.at(-2);
  if (before === undefined) return text;
  return `${text}\nback to the end of line ${before.line}: tidemark volume rollback ${name} --undo`;
}

const beganByReason: Readonly<Record<Line['reason'], (label: string) => string>> = {
  created: () => 'created empty',
  view: (label) => `made from its source ${momentText(label)}`,
  rollback: (label) => `rolled back to ${label}`,
  refresh: (label) => `refreshed from its source ${momentText(label)}`,
  undo: (label) => `undo: as it was ${label}`,
};

function momentText(label: string): string {
  return label === 'now' ? 'as it was then' : `at ${label}`;
}

function snapshotsText(names: readonly string[]): string {
  const [first = '-', ...rest] = names;
  if (names.length <= NAMED_SNAPSHOTS_MAX) return [first, ...rest].join(', ');
  return `${first} ... ${rest.at(-1) ?? ''} (${names.length})`;
}
