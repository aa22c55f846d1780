/** tidemark snapshot ... */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import type { Snapshot, SnapshotList } from '../contract/snapshot.ts';
import type { Deleted } from '../contract/volume.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
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
  withConsentOptions(snapshot.command('delete <volume> <name>'))
    .description('forget a moment of a volume')
    .action(async (volume: string, name: string, options: Consent) => {
      await snapshotDelete(session(), { volume, name }, hasConsent(options));
    });
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
    ]);
    return table(['NAME', 'SIZE', 'CREATED', 'CONSISTENCY', 'EXPORT'], rows, new Set(['SIZE']));
  });
}

async function snapshotDelete(
  session: Session,
  which: { readonly volume: string; readonly name: string },
  isForced: boolean,
): Promise<void> {
  const path = `${volumePath(which.volume)}/snapshots/${encodeURIComponent(which.name)}`;
  const remove = async (force: boolean): Promise<Deleted> =>
    await session.send<Deleted>('DELETE', `${path}?force=${force}`);
  const answer = isForced ? await remove(true) : await session.withConsent(which.name, remove);
  session.show(answer, ({ deleted }) => `snapshot ${deleted} deleted`);
}
