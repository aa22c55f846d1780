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
import { type DataOp, luStateBytes, type ModelOp } from './model.ts';

type CatalogueOp = Exclude<ModelOp, DataOp>;

/** Submits a catalogue operation; `nameOf` a volume that is there answers its name. */
export function submitCatalogueOp(
  pool: Pool,
  op: CatalogueOp,
  nameOf: (volume: number) => string,
  done: (outcome: Outcome<unknown>) => void,
): void {
  if (op.kind === 'volumeCreate') {
    const { name, sizeBytes, isWriteBack } = op;
    pool.volumeCreate({ name, sizeBytes, ack: ackModeOf(isWriteBack) }, done);
    return;
  }
  const name = nameOf(op.volume);
  switch (op.kind) {
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

export function ackModeOf(isWriteBack: boolean): AckMode {
  return isWriteBack ? AckMode.writeBack : AckMode.durable;
}

/** Saves the state with this number; its status as an outcome of the catalogue. */
function saveLuState(
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
