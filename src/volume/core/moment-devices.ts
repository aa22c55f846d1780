/** Past moments as read-only devices: snapshots, and moments with what changed in them since others. */
import { ErrorCode, failure, OperationError, success } from '../../base/errors.ts';
import type { OpenPair, PoolHistory } from '../history.ts';
import { type Operations, SnapshotDevice } from '../io/devices.ts';
import type { Done, Operator } from './operator.ts';
import { identityOf, type SnapshotTarget } from './volume-operations.ts';

interface OpenDevice {
  readonly device: SnapshotDevice;
  /** When the last user left. */
  close(): void;
}

/** Throws OperationError not-found. */
export function openSnapshotDevice(
  { operator, operations }: { readonly operator: Operator; readonly operations: Operations },
  { volume, name }: SnapshotTarget,
  done: Done<OpenDevice>,
): void {
  const snapshot = operator.snapshot(volume, name);
  operator.moments.open(snapshot, (opened) => {
    if (opened === undefined) {
      const message = `snapshot "${volume}@${name}" cannot be read: the log is damaged`;
      const hint = 'Run "tidemark pool verify" to see where.';
      done(failure(new OperationError(ErrorCode.internal, message, hint)));
      return;
    }
    const { sizeBytes, uuid } = snapshot;
    const shown = { name: `${volume}@${name}`, sizeBytes, identity: identityOf(uuid) };
    const device = new SnapshotDevice(shown, opened.map, operations);
    const close = (): void => {
      opened.release();
    };
    done(success({ device, close }));
  });
}

/** Moment `at` of a volume, and how it differs from moment `since`. */
export function openChangesDevice(
  by: {
    readonly operator: Operator;
    readonly operations: Operations;
    readonly history: PoolHistory;
  },
  { volume, at, since }: { readonly volume: string; readonly at: string; readonly since: string },
  done: Done<OpenDevice & Pick<OpenPair, 'diff'>>,
): void {
  by.history.openPair({ volume, from: since, to: at }, (outcome) => {
    if (!outcome.ok) {
      done(outcome);
      return;
    }
    const pair = outcome.value;
    const { sizeBytes } = pair.to.moment;
    const identity = identityOf(by.operator.volume(volume).uuid);
    const shown = { name: `${volume}@${pair.to.label}`, sizeBytes, identity };
    const device = new SnapshotDevice(shown, pair.toMap, by.operations);
    const close = (): void => {
      pair.close();
    };
    done(success({ device, diff: pair.diff, close }));
  });
}
