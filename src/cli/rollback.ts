/** tidemark volume rollback: going to another moment, and the way back. */
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { MomentPlace } from '../contract/history.ts';
import type { Snapshot, SnapshotList } from '../contract/snapshot.ts';
import type { Volume, VolumeHistory } from '../contract/volume.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode, usageFailure } from './failure.ts';
import { formatTime } from './format.ts';
import { momentArgument, openMoment } from './moment-argument.ts';

export interface RollbackOptions {
  readonly to?: string;
  readonly undo?: boolean;
  readonly disconnect?: boolean;
}

interface Rollback {
  readonly name: string;
  /** Path of the volume in the API. */
  readonly path: string;
  /** The moment to go to; undefined = the state before the latest rollback or refresh. */
  readonly to: string | undefined;
  /** Where `to` lies, when it is not the name of a snapshot. */
  readonly place: MomentPlace | undefined;
  readonly disconnect: boolean;
}

/** Goes to a moment, or back from one. `hasConsent` = the operator gave it on the command line. */
export async function volumeRollback(
  session: Session,
  volume: { readonly name: string; readonly path: string },
  options: RollbackOptions,
  hasConsent: boolean,
): Promise<void> {
  if ((options.to === undefined) !== (options.undo === true)) {
    throw usageFailure('give either --to MOMENT or --undo');
  }
  const wanted = options.to === undefined ? undefined : momentArgument(options.to);
  const isNamed = wanted === undefined || wanted === 'now' || wanted.startsWith('snapshot:');
  const place = isNamed ? undefined : await openMoment(session, volume.name, wanted);
  const to = place?.at ?? wanted;
  const rollback = { ...volume, to, place, disconnect: options.disconnect === true };
  if (!hasConsent) await askFirst(session, rollback);
  const { path, disconnect } = rollback;
  const done =
    to === undefined
      ? await session.send<Volume>('POST', `${path}/rollback/undo`, { disconnect })
      : await session.send<Volume>('POST', `${path}/rollback`, { to, disconnect });
  session.show(done, (answer) => doneText(answer, to));
}

/** Tells what the rollback changes and has a person confirm it. Throws CommandFailure for what would be refused anyway. */
async function askFirst(session: Session, rollback: Rollback): Promise<void> {
  const { name, path, to, disconnect } = rollback;
  const volume = await session.send<Volume>('GET', path);
  const { connectionCount, sessionCount } = volume;
  if (connectionCount + sessionCount > 0 && !disconnect) throw isOpen(volume);
  const change =
    to === undefined
      ? await undoWarning(session, rollback)
      : await rollbackWarning(session, volume, rollback);
  const dropped =
    connectionCount > 0
      ? ` ${count(connectionCount, 'client')} ${connectionCount === 1 ? 'is' : 'are'} disconnected.`
      : '';
  const told =
    sessionCount > 0
      ? ` ${count(sessionCount, 'iSCSI session')} ${sessionCount === 1 ? 'stays, and is' : 'stay, and are'} told that the content changed.`
      : '';
  const way = `What it holds now stays reachable: tidemark volume rollback ${name} --undo`;
  await session.confirm(`${change}${dropped}${told}\n${way}`, name);
}

async function rollbackWarning(
  session: Session,
  volume: Volume,
  rollback: Rollback,
): Promise<string> {
  const { name, path, to, place } = rollback;
  const nowMs = session.clock.wallMs();
  const start = `Rolling back ${volume.kind} ${name} (${formatSize(volume.sizeBytes)}) to`;
  if (place !== undefined) {
    return `${start} ${place.at}, ${formatTime(place.timeMs, nowMs)}, replaces its content${sizeText(volume, place)}.`;
  }
  const { snapshots } = await session.send<SnapshotList>('GET', `${path}/snapshots`);
  const snapshot = snapshots.find((each) => `snapshot:${each.name}` === to);
  if (snapshot === undefined) throw noSnapshot(name, to ?? '');
  const taken = formatTime(snapshot.momentMs ?? snapshot.createdMs, nowMs);
  return `${start} snapshot ${snapshot.name}, taken ${taken}, replaces its content${sizeText(volume, snapshot)}.`;
}

function sizeText(volume: Volume, moment: Pick<Snapshot, 'sizeBytes'>): string {
  if (volume.sizeBytes === moment.sizeBytes) return '';
  return ` and its size, which becomes ${formatSize(moment.sizeBytes)}`;
}

async function undoWarning(session: Session, { name, path }: Rollback): Promise<string> {
  const { lines } = await session.send<VolumeHistory>('GET', `${path}/history`);
  const present = lines.at(-1);
  if (lines.length < 2 || present === undefined) throw neverRolledBack(name);
  const since = formatTime(present.startedMs, session.clock.wallMs());
  return `Undoing the ${present.reason} of ${name} replaces its content by what it held before ${since}.`;
}

function isOpen(volume: Volume): CommandFailure {
  const { name, connectionCount, sessionCount } = volume;
  const users = [
    ...(connectionCount === 0 ? [] : [count(connectionCount, 'client')]),
    ...(sessionCount === 0 ? [] : [count(sessionCount, 'iSCSI session')]),
  ];
  const isOne = connectionCount + sessionCount === 1;
  const message = `${name} is open by ${users.join(' and ')}, and its content would change under ${isOne ? 'it' : 'them'}`;
  const hint =
    'unmount it there first; or give --disconnect: NBD connections are dropped, iSCSI sessions stay and are told';
  return new CommandFailure(ExitCode.failed, { code: 'conflict', message, hint });
}

function noSnapshot(name: string, to: string): CommandFailure {
  if (to === 'now') return usageFailure(`${name} is at now already`, 'name a snapshot');
  const message = `${name} has no ${to.replace(':', ' ')}`;
  const hint = `tidemark snapshot list ${name} shows those it has`;
  return new CommandFailure(ExitCode.failed, { code: 'not-found', message, hint });
}

function neverRolledBack(name: string): CommandFailure {
  const message = `${name} was never rolled back`;
  const hint = `tidemark volume history ${name} shows where it has been`;
  return new CommandFailure(ExitCode.failed, { code: 'conflict', message, hint });
}

function doneText(volume: Volume, to: string | undefined): string {
  const { kind, name, sizeBytes } = volume;
  const where = to === undefined ? 'as it was before' : `at ${to}`;
  return `${kind} ${name} is ${where}, ${formatSize(sizeBytes)}; the way back: tidemark volume rollback ${name} --undo`;
}
