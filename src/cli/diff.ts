/** tidemark diff */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Diff, MomentPlace } from '../contract/history.ts';
import type { Session } from './command-session.ts';
import { formatDate, table } from './format.ts';
import { momentArgument, momentHelp, openMoment } from './moment-argument.ts';

/** Extents of one request. */
const PAGE_EXTENTS = 16_384;
/** Extents that are listed for people; the others are counted. */
const LISTED_MAX = 20;

export function addDiffCommand(program: Command, session: () => Session): void {
  program
    .command('diff <volume>')
    .description('extents that differ between two moments of a volume, in bytes')
    .requiredOption('--from <moment>', momentHelp)
    .requiredOption('--to <moment>', 'the same')
    .addHelpText(
      'after',
      '\nWhat was trimmed or zeroed differs, too. Either moment may be the earlier one.',
    )
    .action(async (volume: string, options: { readonly from: string; readonly to: string }) => {
      const { from, to } = options;
      await diff(session(), volume, { from: momentArgument(from), to: momentArgument(to) });
    });
}

async function diff(
  session: Session,
  volume: string,
  wanted: { readonly from: string; readonly to: string },
): Promise<void> {
  const from = await openMoment(session, volume, wanted.from);
  const to = await openMoment(session, volume, wanted.to);
  const pages = diffPages(session, volume, { from, to });
  if (session.isJson) await printJson(session, { from, to }, pages);
  else await printTable(session, { from, to }, pages);
}

interface Between {
  readonly from: MomentPlace;
  readonly to: MomentPlace;
}

/** A page at a time: there may be more extents than memory. */
async function* diffPages(
  session: Session,
  volume: string,
  { from, to }: Between,
): AsyncGenerator<Diff['extents']> {
  const path = `/v1/volumes/${encodeURIComponent(volume)}/diff`;
  let offset: number | undefined = 0;
  while (offset !== undefined) {
    const query = new URLSearchParams({
      from: from.at,
      to: to.at,
      offset: String(offset),
      limit: String(PAGE_EXTENTS),
    });
    const page: Diff = await session.send<Diff>('GET', `${path}?${query.toString()}`);
    yield page.extents;
    offset = page.nextOffset;
  }
}

/** The same text as the API's JSON would give for all pages in one. */
async function printJson(
  session: Session,
  { from, to }: Between,
  pages: AsyncIterable<Diff['extents']>,
): Promise<void> {
  const { terminal } = session;
  const head = JSON.stringify({ from, to }, undefined, 2).replace(/\n\}$/, '');
  terminal.out(`${head},\n  "extents": [`);
  let separator = '';
  for await (const extents of pages) {
    for (const each of extents) {
      terminal.out(`${separator}\n    ${JSON.stringify(each)}`);
      separator = ',';
    }
  }
  terminal.out(`${separator === '' ? '' : '\n  '}]\n}\n`);
}

async function printTable(
  session: Session,
  { from, to }: Between,
  pages: AsyncIterable<Diff['extents']>,
): Promise<void> {
  const listed: string[][] = [];
  let extentCount = 0;
  let bytes = 0;
  for await (const extents of pages) {
    for (const { offset, length } of extents) {
      if (extentCount < LISTED_MAX) listed.push([String(offset), String(length)]);
      extentCount += 1;
      bytes += length;
    }
  }
  const ends = `${placeText(from)} and ${placeText(to)}`;
  if (extentCount === 0) {
    session.terminal.out(`no difference between ${ends}\n`);
    return;
  }
  const columns = ['OFFSET', 'LENGTH'];
  const more =
    extentCount > LISTED_MAX ? [`and ${extentCount - LISTED_MAX} more; --json lists them all`] : [];
  const lines = [
    `${formatSize(bytes)} in ${count(extentCount, 'extent')} differ between ${ends}`,
    table(columns, listed, new Set(columns)),
    ...more,
    ...sizeLines(from, to),
  ];
  session.terminal.out(`${lines.join('\n')}\n`);
}

function placeText({ at, timeMs }: MomentPlace): string {
  return at.startsWith('position:') || at.startsWith('snapshot:')
    ? `${at} (${formatDate(timeMs)})`
    : at;
}

function sizeLines(from: MomentPlace, to: MomentPlace): string[] {
  if (from.sizeBytes === to.sizeBytes) return [];
  return [`the size differs, too: ${formatSize(from.sizeBytes)} and ${formatSize(to.sizeBytes)}`];
}
