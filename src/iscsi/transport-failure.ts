/** What a command ends with when the transfer of its data went wrong: codes of `scsi/sense.ts`, all ABORTED COMMAND. RFC 7143 section 11.4.7.2. */
export const TransportFailure = {
  none: 0,
  unexpectedUnsolicitedData: 0x0b0c0c,
  incorrectAmountOfData: 0x0b0c0d,
  /** Protocol service CRC error: a data digest was wrong. */
  digestError: 0x0b4705,
  /** Data phase error: a Data-Out is missing or came twice. */
  dataSnError: 0x0b4b00,
  dataOffsetError: 0x0b4b05,
} as const;
export type TransportFailure = (typeof TransportFailure)[keyof typeof TransportFailure];
