/** Error values of transmission replies, NBD protocol "Error values", and what device statuses become. */
import { IoStatus } from '../../device/block-device.ts';

export const NbdError = {
  none: 0,
  notPermitted: 1,
  io: 5,
  invalid: 22,
  noSpace: 28,
  notSupported: 95,
  shutdown: 108,
} as const;
export type NbdError = (typeof NbdError)[keyof typeof NbdError];

const errorByStatus: Readonly<Record<IoStatus, NbdError>> = {
  [IoStatus.ok]: NbdError.none,
  [IoStatus.ioError]: NbdError.io,
  [IoStatus.noSpace]: NbdError.noSpace,
  [IoStatus.readOnly]: NbdError.notPermitted,
  [IoStatus.invalid]: NbdError.invalid,
  [IoStatus.shuttingDown]: NbdError.shutdown,
  // No NBD command compares.
  [IoStatus.miscompare]: NbdError.io,
};

export function statusToError(status: IoStatus): NbdError {
  return errorByStatus[status];
}

/** What a person reads when the refusal came from the device. */
const messageByStatus: Readonly<Record<IoStatus, string>> = {
  [IoStatus.ok]: '',
  [IoStatus.ioError]: 'the disk failed, or a checksum did not match',
  [IoStatus.noSpace]: 'the pool is full',
  [IoStatus.readOnly]: 'the export cannot be written',
  [IoStatus.invalid]: 'the range is outside the device as it is now',
  [IoStatus.shuttingDown]: 'the server is stopping',
  [IoStatus.miscompare]: 'the content is not what was expected',
};

export function statusToMessage(status: IoStatus): string {
  return messageByStatus[status];
}
