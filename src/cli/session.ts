/** tidemark session ... */
import type { Command } from 'commander';
import { addressOfPeer } from '../base/ip-address.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Session, SessionList, SessionsDropped } from '../contract/session.ts';
import type { Session as CommandSession } from './command-session.ts';
import { usageFailure } from './failure.ts';
import { formatDate, table } from './format.ts';

/** LUN numbers of one session that are named in a table. */
const NAMED_LUNS_MAX = 6;

interface HostOption {
  readonly host?: string;
}

export function addSessionCommands(program: Command, session: () => CommandSession): void {
  const noun = program
    .command('session')
    .description('iSCSI sessions: initiators that are logged in');
  noun
    .command('list')
    .description('all sessions, or those of a host')
    .option('--host <host>', 'only those of this host')
    .action(async (options: HostOption) => {
      await sessionList(session(), options.host);
    });
  noun
    .command('drop [id]')
    .description('end a session, or all of a host; the initiators may log in again at once')
    .option('--host <host>', 'all sessions of this host')
    .action(async (id: string | undefined, options: HostOption) => {
      await sessionDrop(session(), id, options.host);
    });
}

async function sessionList(session: CommandSession, host: string | undefined): Promise<void> {
  const query = host === undefined ? '' : `?host=${encodeURIComponent(host)}`;
  const list = await session.send<SessionList>('GET', `/v1/sessions${query}`);
  session.show(list, ({ sessions }) => {
    if (sessions.length === 0) return 'nobody is logged in';
    const rows = sessions.map(rowOf);
    const head = ['ID', 'HOST', 'INITIATOR', 'FROM', 'PORTAL', 'SINCE', 'LUNS', ...counters];
    const text = table(head, rows, new Set(['ID', ...counters]));
    const targets = [...new Set(sessions.map((each) => each.targetName))];
    return `${text}\ntarget ${targets.filter((name) => name !== '').join(', ') || 'none yet'}`;
  });
}

const counters = ['COMMANDS', 'READ', 'WRITTEN'] as const;

function rowOf(each: Session): string[] {
  const { initiatorName, initiatorAlias } = each;
  return [
    String(each.id),
    each.host ?? '-',
    initiatorAlias === undefined ? initiatorName : `${initiatorName} (${initiatorAlias})`,
    addressOfPeer(each.address),
    each.portal,
    formatDate(each.sinceMs),
    each.kind === 'discovery' ? 'discovery' : lunsText(each.luns),
    String(each.commandCount),
    formatSize(each.bytesRead),
    formatSize(each.bytesWritten),
  ];
}

function lunsText(luns: readonly number[]): string {
  if (luns.length === 0) return 'none';
  const shown = luns.slice(0, NAMED_LUNS_MAX).join(',');
  return luns.length > NAMED_LUNS_MAX ? `${shown},... (${luns.length})` : shown;
}

async function sessionDrop(
  session: CommandSession,
  id: string | undefined,
  host: string | undefined,
): Promise<void> {
  if ((id === undefined) === (host === undefined)) {
    throw usageFailure('give either the id of a session or --host', 'see: tidemark session list');
  }
  if (id !== undefined && !/^\d{1,9}$/.test(id)) {
    throw usageFailure(`"${id}" is no id of a session`, 'see: tidemark session list');
  }
  const path =
    host === undefined ? `/v1/sessions/${id}` : `/v1/hosts/${encodeURIComponent(host)}/sessions`;
  const answer = await session.send<SessionsDropped>('DELETE', path);
  session.show(answer, ({ droppedCount }) => `${count(droppedCount, 'session')} ended`);
}
