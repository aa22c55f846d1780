/** tidemark snapshot ... */
import type { Command } from 'commander';
import { parseMoment } from '../base/moment.ts';
import { formatSize } from '../base/units.ts';
import type { Snapshot, SnapshotList } from '../contract/snapshot.ts';
import type { Deleted } from '../contract/volume.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
import { usageFailure } from './failure.ts';
import { formatDate, formatTime, table } from './format.ts';
import { momentArgument, momentHelp } from './moment-argument.ts';
import { volumePath } from './volume.ts';

export function addSnapshotCommands(program: Command, session: () => Session): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshots: read-only moments of a volume, exported as VOL@NAME');
  snapshot
    .command('create <volume> <name>')
    .description('keep the present moment of a volume, or one that has passed')
    .option('--at <moment>', momentHelp)
    .action(async (volume: string, name: string, { at }: { readonly at?: string }) => {
      const current = session();
      const path = `${volumePath(volume)}/snapshots`;
      const wanted = at === undefined ? { name } : { name, at: momentArgument(at) };
      current.show(await current.send<Snapshot>('POST', path, wanted), madeText);
    });
  snapshot
    .command('list <volume>')
    .description('snapshots of a volume, oldest first')
    .action(async (volume: string) => {
      await snapshotList(session(), volume);
    });
  withConsentOptions(snapshot.command('set <volume> <name>'))
    .description('lock a snapshot: neither it nor its volume can be deleted until the lock ends')
    .option('--lock-until <time>', '2027-01-31T00:00Z; without a zone: your local time')
    .option('--unlock', 'end the lock now')
    .action(async (volume: string, name: string, options: SetOptions & Consent) => {
      await snapshotSet(session(), { volume, name }, options);
    });
  withConsentOptions(snapshot.command('delete <volume> <name>'))
    .description('forget a moment of a volume')
    .action(async (volume: string, name: string, options: Consent) => {
      await snapshotDelete(session(), { volume, name }, hasConsent(options));
    });
}

interface SetOptions {
  readonly lockUntil?: string;
  readonly unlock?: true;
}

/** Throws CommandFailure `usage`. */
function lockedUntilMs({ lockUntil, unlock }: SetOptions): number {
  if (lockUntil !== undefined && unlock !== undefined) {
    throw usageFailure('--lock-until and --unlock contradict each other', 'give one of them');
  }
  if (unlock === true) return 0;
  if (lockUntil === undefined) {
    throw usageFailure('nothing to change', 'give --lock-until TIME or --unlock');
  }
  const moment = parseMoment(lockUntil);
  if (moment?.kind === 'time') return Math.ceil(moment.timeMs);
  throw usageFailure(`"${lockUntil}" is no time`, 'write it as 2027-01-31T00:00Z');
}

async function snapshotSet(
  session: Session,
  which: { readonly volume: string; readonly name: string },
  options: SetOptions & Consent,
): Promise<void> {
  const path = `${snapshotPath(which)}/set`;
  const wanted = { lockedUntilMs: lockedUntilMs(options) };
  const set = async (force: boolean): Promise<Snapshot> =>
    await session.send<Snapshot>('POST', path, force ? { ...wanted, force } : wanted);
  const answer = hasConsent(options) ? await set(true) : await session.withConsent(which.name, set);
  session.show(answer, (shown) => {
    if (shown.lockedUntilMs === undefined) return `snapshot ${shown.exportName} can be deleted`;
    const until = formatDate(shown.lockedUntilMs);
    return `snapshot ${shown.exportName} is locked until ${until}: neither it nor its volume can be deleted before`;
  });
}

function snapshotPath({
  volume,
  name,
}: {
  readonly volume: string;
  readonly name: string;
}): string {
  return `${volumePath(volume)}/snapshots/${encodeURIComponent(name)}`;
}

function madeText({ exportName, position, at }: Snapshot): string {
  const made = `snapshot ${exportName} made at position ${position}`;
  if (at === undefined) return made;
  return `${made}: the volume as it was at ${at}, crash-consistent`;
}

/** When it is of; one that was named afterwards says so. */
function takenText({ createdMs, momentMs }: Snapshot, nowMs: number): string {
  if (momentMs === undefined) return formatTime(createdMs, nowMs);
  return `${formatTime(momentMs, nowMs)}, named ${formatDate(createdMs)}`;
}

async function snapshotList(session: Session, volume: string): Promise<void> {
  const list = await session.send<SnapshotList>('GET', `${volumePath(volume)}/snapshots`);
  session.show(list, ({ snapshots }) => {
    if (snapshots.length === 0) {
      return `volume ${volume} has no snapshots; make one with: tidemark snapshot create ${volume} NAME`;
    }
    const nowMs = session.clock.wallMs();
    const oldestFirst = snapshots.toSorted((left, right) => left.position - right.position);
    const rows = oldestFirst.map((each) => [
      each.name,
      formatSize(each.sizeBytes),
      takenText(each, nowMs),
      `${each.consistency}-consistent`,
      each.exportName,
      each.lockedUntilMs === undefined ? '-' : formatDate(each.lockedUntilMs),
    ]);
    const head = ['NAME', 'SIZE', 'CREATED', 'CONSISTENCY', 'EXPORT', 'LOCKED UNTIL'];
    return table(head, rows, new Set(['SIZE']));
  });
}

async function snapshotDelete(
  session: Session,
  which: { readonly volume: string; readonly name: string },
  isForced: boolean,
): Promise<void> {
  const path = snapshotPath(which);
  const remove = async (force: boolean): Promise<Deleted> =>
    await session.send<Deleted>('DELETE', `${path}?force=${force}`);
  const answer = isForced ? await remove(true) : await session.withConsent(which.name, remove);
  session.show(answer, ({ deleted }) => `snapshot ${deleted} deleted`);
}
