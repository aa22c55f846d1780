/** tidemark pool scrub ... */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Pool } from '../contract/pool.ts';
import type { Scrub } from '../contract/scrub.ts';
import type { Session } from './command-session.ts';
import { facts, formatDate, formatDuration, formatTime } from './format.ts';
import { sizeArgument, sizeHelp } from './size-argument.ts';

const blockBytes = 4096;

export function addScrubCommands(scrub: Command, session: () => Session): void {
  scrub
    .command('status')
    .description('what it does, and what it found')
    .action(async () => {
      await show(session(), 'GET', '');
    });
  scrub
    .command('start')
    .description('go on with a pass, or begin one now')
    .option('--rate <size>', `bytes a second from now on (${sizeHelp})`)
    .action(async ({ rate }: { rate?: string }) => {
      const wanted = rate === undefined ? {} : { bytesPerSecond: sizeArgument(rate) };
      await show(session(), 'POST', '/start', wanted);
    });
  scrub
    .command('pause')
    .description('stop where it is, until it is started again')
    .action(async () => {
      await show(session(), 'POST', '/pause');
    });
}

async function show(
  session: Session,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
): Promise<void> {
  const scrub = await session.send<Scrub>(method, `/v1/pool/scrub${path}`, body);
  session.show(scrub, (answer) => scrubText(answer, session.clock.wallMs()));
}

/** One line for the pool's status. */
export function scrubLine(scrub: Pool['scrub'], nowMs: number): string {
  const { lastPass, findingCount } = scrub;
  const last =
    lastPass === undefined
      ? 'no full pass yet'
      : `last full pass ended ${formatTime(lastPass.finishedMs, nowMs)}`;
  const found = findingCount === 0 ? 'nothing found' : count(findingCount, 'finding');
  return `${stateText(scrub)}; ${last}; ${found}`;
}

function stateText({ state, segmentsDone, segmentCount, nextPassMs }: Pool['scrub']): string {
  const percent = segmentCount === 0 ? 100 : Math.floor((segmentsDone / segmentCount) * 100);
  if (state === 'running') return `running, ${percent} %`;
  if (state === 'paused') return `paused at ${percent} %`;
  return nextPassMs === undefined ? 'off' : `next pass ${formatDate(nextPassMs)}`;
}

function scrubText(scrub: Scrub, nowMs: number): string {
  const { lastPass, passStartedMs, findings, findingCount } = scrub;
  const pairs: [string, string][] = [
    ['state', stateText(scrub)],
    ['rate', `${formatSize(scrub.bytesPerSecond)} a second, a quarter of it while clients write`],
  ];
  if (passStartedMs !== undefined) {
    const { segmentsDone, segmentCount } = scrub;
    const began = formatTime(passStartedMs, nowMs);
    pairs.push(['this pass', `${segmentsDone} of ${segmentCount} segments, began ${began}`]);
  }
  if (lastPass !== undefined) {
    const { startedMs, finishedMs, blocksChecked, isManifestChecked } = lastPass;
    const read = `${formatSize(blocksChecked * blockBytes)} in ${formatDuration(finishedMs - startedMs)}`;
    const manifest = isManifestChecked
      ? ''
      : ', without the manifest (the engine was started again)';
    pairs.push(['last pass', `${read}, ended ${formatTime(finishedMs, nowMs)}${manifest}`]);
  }
  pairs.push(['found', findingCount === 0 ? 'nothing' : count(findingCount, 'finding')]);
  const lines = findings.map((finding) => `  ${findingText(finding)}`);
  const hidden = findingCount - findings.length;
  return [facts(pairs), ...lines, ...(hidden > 0 ? [`  and ${hidden} more`] : [])].join('\n');
}

function findingText(finding: Scrub['findings'][number]): string {
  const { text, volume, offset = 0, length = 0, presentIn = [] } = finding;
  if (volume === undefined) return text;
  const first = offset / blockBytes;
  const last = (offset + length) / blockBytes - 1;
  const where =
    presentIn.length === 0 ? 'only snapshots or history have it' : `now in ${presentIn.join(', ')}`;
  return `${volume}: blocks ${first} to ${last} (offset ${offset}, ${formatSize(length)}), ${where}; ${text}`;
}
