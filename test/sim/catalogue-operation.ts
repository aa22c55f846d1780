/** Operations on the catalogue, as the simulator makes them. */
import { unreachable } from '../../src/base/assert.ts';
import {
  ErrorCode,
  failure,
  OperationError,
  type Outcome,
  success,
} from '../../src/base/errors.ts';
import { type BlockDevice, IoStatus } from '../../src/device/block-device.ts';
import { AckMode } from '../../src/volume/catalogue/records.ts';
import type { Pool } from '../../src/volume/pool.ts';
import { type DataOp, luStateBytes, type ModelOp, type PoolState } from './model.ts';

type CatalogueOp = Exclude<ModelOp, DataOp>;

/** Submits a catalogue operation; volumes are named as they are in `state`. */
export function submitCatalogueOp(
  pool: Pool,
  op: CatalogueOp,
  state: PoolState,
  done: (outcome: Outcome<unknown>) => void,
): void {
  const name = state.get(op.volume)?.name ?? '';
  switch (op.kind) {
    case 'volumeCreate':
      pool.volumeCreate(
        {
          name: op.name,
          sizeBytes: op.sizeBytes,
          ack: op.isWriteBack ? AckMode.writeBack : AckMode.durable,
        },
        done,
      );
      break;
    case 'luState':
      saveLuState(pool.volumeOpen(name), op.sequence, done);
      break;
    case 'volumeRename':
      pool.volumeRename({ name, newName: op.name }, done);
      break;
    case 'volumeResize':
      pool.volumeResize({ name, sizeBytes: op.sizeBytes, force: true }, done);
      break;
    case 'volumeDelete':
      pool.volumeDelete({ name, force: true }, done);
      break;
    case 'snapshotCreate':
      pool.snapshotCreate([{ volume: name, name: op.name }], done);
      break;
    case 'snapshotDelete':
      pool.snapshotDelete({ volume: name, name: op.name }, done);
      break;
    default:
      unreachable(op);
  }
}

/** Saves the state with this number; its status as an outcome of the catalogue. */
export function saveLuState(
  device: BlockDevice,
  sequence: number,
  done: (outcome: Outcome<unknown>) => void,
): void {
  const state = luStateBytes(sequence);
  device.saveLuState(state, (status) => {
    const code = codeByStatus[status];
    if (status === IoStatus.ok) done(success(undefined));
    else done(failure(new OperationError(code, `state answered with status ${status}`)));
  });
  // The bytes were copied inside the call.
  state.fill(0xee);
}

const codeByStatus: Readonly<Record<IoStatus, ErrorCode>> = {
  [IoStatus.ok]: ErrorCode.internal,
  [IoStatus.ioError]: ErrorCode.unavailable,
  [IoStatus.noSpace]: ErrorCode.noSpace,
  [IoStatus.readOnly]: ErrorCode.readOnly,
  [IoStatus.invalid]: ErrorCode.invalid,
  [IoStatus.shuttingDown]: ErrorCode.notFound,
  [IoStatus.miscompare]: ErrorCode.internal,
};
