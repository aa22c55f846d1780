/**
 * Who uses a volume, and what becomes of them when its content changes or it goes away.
 *
 *                        rollback, undo, refresh                     delete
 *     NBD connections    refused; with --disconnect dropped          needs force; dropped
 *     iSCSI sessions     refused; with --disconnect they stay:       -
 *                        commands end, then hosts are told
 *     LUN maps           -                                           needs force; removed
 *     data, snapshots    -                                           needs force
 */
import { ErrorCode, OperationError } from '../base/errors.ts';
import { uuidText } from '../base/uuid.ts';
import { count } from '../base/words.ts';
import type { NbdServer } from '../nbd/server.ts';
import type { Pool } from '../volume/pool.ts';
import { deletionRefusal } from './deletion.ts';
import type { PoolExports } from './exports.ts';
import type { IscsiFront } from './iscsi-front.ts';

type Volume = ReturnType<Pool['volume']>;

export interface UserParts {
  readonly exports: PoolExports;
  readonly nbd: NbdServer;
  readonly iscsi: IscsiFront;
}

/** A volume that is to be deleted. */
interface Removal {
  readonly volume: Volume;
  readonly dataBytes: number | undefined;
  readonly force: boolean;
}

/**
 * Runs `change`, which gives the volume other content, when nobody's requests run into it. Rejects with OperationError `conflict` when
 * somebody uses it and `disconnect` is false.
 */
export async function whileUnused<T>(
  parts: UserParts,
  volume: Volume,
  disconnect: boolean,
  change: () => Promise<T>,
): Promise<T> {
  const volumeId = uuidText(volume.uuid);
  const connections = parts.exports.volumeConnections(volumeId);
  const sessionCount = parts.iscsi.sessionCount(volumeId);
  if (connections.size + sessionCount > 0 && !disconnect) {
    throw isOpen(volume.name, connections.size, sessionCount);
  }
  parts.nbd.disconnect(connections);
  return await parts.iscsi.units.whileSuspended(volumeId, change);
}

/**
 * Runs `remove`, after which nobody sees the volume. Rejects with `needs-force` when something would be lost and `force` is false.
 * `dataBytes`: see `Loss`.
 */
export async function removeWithUsers<T>(
  parts: UserParts,
  { volume, dataBytes, force }: Removal,
  remove: () => Promise<T>,
): Promise<T> {
  const volumeId = uuidText(volume.uuid);
  const connections = parts.exports.allConnections(volumeId);
  const refusal = deletionRefusal({
    name: volume.name,
    kind: volume.view === undefined ? 'volume' : 'view',
    sizeBytes: volume.sizeBytes,
    dataBytes,
    snapshots: [...volume.snapshotByName.keys()],
    connectionCount: connections.size,
    maps: parts.iscsi.mapsOf(volumeId),
  });
  if (refusal !== undefined && !force) throw refusal;
  parts.nbd.disconnect(connections);
  const removed = await parts.iscsi.units.whileSuspended(volumeId, remove);
  parts.iscsi.volumeDeleted(volumeId);
  return removed;
}

/** Drops who reads a snapshot. Throws `needs-force` when somebody does and `force` is false. */
export function releaseSnapshot(
  parts: UserParts,
  { name, snapshotId }: { readonly name: string; readonly snapshotId: string },
  force: boolean,
): void {
  const connections = parts.exports.snapshotConnections(snapshotId);
  if (connections.size > 0 && !force) throw inUse(name, connectionsText(connections.size));
  parts.nbd.disconnect(connections);
}

function isOpen(name: string, connectionCount: number, sessionCount: number): OperationError {
  const users = [
    ...(connectionCount === 0 ? [] : [count(connectionCount, 'NBD connection')]),
    ...(sessionCount === 0 ? [] : [count(sessionCount, 'iSCSI session')]),
  ];
  const whose = connectionCount + sessionCount === 1 ? 'it' : 'them';
  return new OperationError(
    ErrorCode.conflict,
    `${name} is open on ${users.join(' and ')}, and its content would change under ${whose}`,
    'Disconnect the clients (or log out), or repeat with --disconnect: NBD connections are dropped, iSCSI sessions stay and are told.',
  );
}

function connectionsText(connectionCount: number): string[] {
  if (connectionCount === 0) return [];
  return [`is open on ${count(connectionCount, 'NBD connection')} that would be dropped`];
}

function inUse(what: string, lost: readonly string[]): OperationError {
  return new OperationError(
    ErrorCode.needsForce,
    `${what} ${lost.join(', and ')}`,
    'Disconnect the clients and unmap it, or repeat with --force.',
  );
}
