/**
 * What a host is told when the device fails a request.
 *
 *     ioError       MEDIUM ERROR with the LBA of exactly the first bad block: the others are good
 *     noSpace       SPACE ALLOCATION FAILED WRITE PROTECT: hypervisors stop the one machine that needs space, and go on later
 *     shuttingDown  BUSY: the engine is about to open the volume again; nothing is lost, the host tries again
 *     invalid       LBA OUT OF RANGE: the volume became smaller while the command ran
 */
import { unreachable } from '../base/assert.ts';
import { IoKind, type IoRequest, IoStatus } from '../device/block-device.ts';
import { logicalBlockBytes } from './limits.ts';
import { SenseCode, type SenseDetail } from './sense.ts';
import { ScsiStatus } from './status.ts';

export interface Failure {
  readonly status: ScsiStatus;
  readonly code: SenseCode;
  readonly detail?: SenseDetail;
}

const check = ScsiStatus.checkCondition;
const busy: Failure = { status: ScsiStatus.busy, code: SenseCode.noSense };
const noSpace: Failure = { status: check, code: SenseCode.spaceAllocationFailed };
const readOnly: Failure = { status: check, code: SenseCode.writeProtected };
const outOfRange: Failure = { status: check, code: SenseCode.lbaOutOfRange };
const writeError: Failure = { status: check, code: SenseCode.writeError };
const internal: Failure = { status: check, code: SenseCode.internalTargetFailure };

export function failureOf(io: IoRequest): Failure {
  switch (io.status) {
    case IoStatus.ioError:
      return ioError(io);
    case IoStatus.noSpace:
      return noSpace;
    case IoStatus.readOnly:
      return readOnly;
    case IoStatus.invalid:
      return outOfRange;
    case IoStatus.shuttingDown:
      return busy;
    case IoStatus.miscompare:
      return miscompare(io.miscompareOffset);
    case IoStatus.ok:
      return internal;
    default:
      return unreachable(io.status);
  }
}

/** MISCOMPARE DURING VERIFY OPERATION with the offset of the first different byte, SBC-3 5.2. */
export function miscompare(offset: number): Failure {
  const detail = { information: offset };
  return { status: check, code: SenseCode.miscompareDuringVerify, detail };
}

function ioError(io: IoRequest): Failure {
  const { kind, errorOffset, offset } = io;
  const wasReading =
    kind === IoKind.read || kind === IoKind.compareAndWrite || kind === IoKind.orWrite;
  if (!wasReading) return writeError;
  const information = Math.floor(Math.max(errorOffset, offset) / logicalBlockBytes);
  return { status: check, code: SenseCode.unrecoveredReadError, detail: { information } };
}
