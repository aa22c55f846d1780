/** tidemark pool clean, and the cleaner in the pool's status. */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { CleanerPass } from '../contract/cleaner.ts';
import type { PoolCleanOperation } from '../contract/operation.ts';
import type { Pool } from '../contract/pool.ts';
import type { Session } from './command-session.ts';
import { formatDuration, formatTime } from './format.ts';
import { watch } from './watch.ts';

export function addCleanAction(clean: Command, session: () => Session): void {
  clean
    .description('give back the space of what no volume, snapshot or window can reach any more')
    .option('--wait', 'until it is done')
    .action(async ({ wait }: { wait?: true }) => {
      await poolClean(session(), wait === true);
    });
}

async function poolClean(session: Session, isAwaited: boolean): Promise<void> {
  const started = await session.send<PoolCleanOperation>('POST', '/v1/pool/clean');
  const operation = isAwaited ? await watch(session, started, 'cleaning') : started;
  session.show(operation, ({ id, result }) =>
    result === undefined
      ? `cleaning was begun, as operation ${id}; "tidemark pool status" shows what it gives back`
      : passText(result),
  );
}

function passText({ packCount, copiedBytes, reclaimedBytes, startedMs, finishedMs }: CleanerPass) {
  if (packCount === 0) return 'nothing is worth cleaning now';
  const made = `${count(packCount, 'pack')} of ${formatSize(copiedBytes)}`;
  const duration = formatDuration(finishedMs - startedMs);
  return `${formatSize(reclaimedBytes)} given back by ${made} in ${duration}`;
}

/** Lines for the pool's status. */
export function cleanerLines(cleaner: Pool['cleaner'], nowMs: number): [string, string][] {
  const { state, isAutomatic, pressure, content, packCount, packBytes, lastPass } = cleaner;
  const mode = isAutomatic ? '' : ', only when it is asked to';
  const shortage = pressure === 'none' ? '' : `, pressure ${pressure}`;
  const last =
    lastPass === undefined
      ? 'no pass yet'
      : `last pass (${lastPass.reason}) ended ${formatTime(lastPass.finishedMs, nowMs)}: ${lastPass.fault ?? passText(lastPass)}`;
  const packs =
    packCount === 0 ? 'no packs' : `${count(packCount, 'pack')}, ${formatSize(packBytes)}`;
  const lines: [string, string][] = [['cleaner', `${state}${mode}${shortage}; ${last}`]];
  if (content !== undefined) {
    const { liveBytes, garbageBytes, judgedMs } = content;
    const when = formatTime(judgedMs, nowMs);
    const text = `${formatSize(garbageBytes)} garbage, ${formatSize(liveBytes)} live (${when}); ${packs}`;
    lines.push(['content', text]);
  }
  const { copiedBytes, reclaimedBytes, writeAmplification } = cleaner;
  const rate =
    writeAmplification === undefined
      ? ''
      : `, write amplification ${writeAmplification.toFixed(2)}`;
  lines.push([
    'given back',
    `${formatSize(reclaimedBytes)}, ${formatSize(copiedBytes)} copied${rate}`,
  ]);
  return lines;
}
