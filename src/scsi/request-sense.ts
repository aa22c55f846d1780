/** REQUEST SENSE, SPC-4 6.39: sense as data. What is pending is reported and cleared; else there is nothing to say. */
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import { encodeSense, SenseCode, senseMaxBytes } from './sense.ts';

const descriptorMask = 0x01;

export function requestSense(command: Command): void {
  answerSense(command, command.place.attentions.take() ?? SenseCode.noSense);
}

/** Sends the sense of `code` in the format that the CDB asks for. */
export function answerSense(command: Command, code: SenseCode): void {
  const { cdb } = command;
  const data = new Uint8Array(senseMaxBytes);
  const isDescriptor = (byteAt(cdb, 1) & descriptorMask) !== 0;
  const length = encodeSense(data, code, undefined, isDescriptor);
  command.sendParameters(data.subarray(0, length), byteAt(cdb, 4));
}
