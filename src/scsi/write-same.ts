/**
 * WRITE SAME(10) and (16), SBC-3 5.48 and 5.49: one block repeated. Zeros are one record in the log however long the range
 * is; any other pattern is really written, with bounded memory.
 */
import { IoKind, type IoRequest, writeAtomicBytes } from '../device/block-device.ts';
import type { Payload } from '../device/staging.ts';
import { type RangeFields, range10, range16, takeRange } from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import type { Handler } from './command-row.ts';
import { logicalBlockBytes, writeSameBlocksMax } from './limits.ts';
import { RangeWork } from './range-work.ts';
import { cdbField, SenseCode } from './sense.ts';
import { StagedMover } from './staged-mover.ts';

const unmapMask = 0x08;
const noDataMask = 0x01;

function writeSame({ lba, blocks }: RangeFields, blocksAt: number): Handler {
  return (command) => {
    const { cdb, task } = command;
    const count = blocks(cdb);
    // WSNZ: zero blocks do not mean "to the end" here.
    if (count === 0 || count > writeSameBlocksMax) {
      command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(blocksAt, 7) });
      return;
    }
    const length = takeRange(command, lba(cdb), count);
    if (length < 0) return;
    const flags = byteAt(cdb, 1);
    const isUnmap = (flags & unmapMask) !== 0;
    if ((flags & noDataMask) !== 0) {
      startZero(command, length, isUnmap);
      return;
    }
    if (task.dataOutBytes !== logicalBlockBytes) {
      command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(blocksAt, 7) });
      return;
    }
    command.receiveParameters(logicalBlockBytes, (_command, block) => {
      // LBPRZ: unmapped blocks read as zero, so UNMAP of anything else means writing it.
      if (block.every((byte) => byte === 0)) startZero(command, length, isUnmap);
      else command.startWork(new PatternWrite(block, length));
    });
  };
}

const blocks10At = 7;
const blocks16At = 10;

export const writeSame10 = writeSame(range10, blocks10At);
export const writeSame16 = writeSame(range16, blocks16At);

function startZero(command: Command, length: number, isUnmap: boolean): void {
  const range = { offset: command.offset, length };
  command.startWork(new RangeWork(isUnmap ? IoKind.trim : IoKind.zero, [range]));
}

/** What is copied into a payload at a time. */
const patternBytes = 32 * 1024;

/** Writes the block over and over, one payload at a time. */
class PatternWrite extends StagedMover {
  readonly #pattern = new Uint8Array(patternBytes);
  readonly #length: number;

  constructor(block: Uint8Array, length: number) {
    super();
    this.#length = length;
    for (let at = 0; at < patternBytes; at += block.length) this.#pattern.set(block, at);
  }

  /** Pieces end on multiples of the largest write, so that only the ends of the range can be ragged. */
  override pieceBytes(command: Command): number {
    const at = command.offset + command.cursor;
    return Math.min(this.#length - command.cursor, writeAtomicBytes - (at % writeAtomicBytes));
  }

  override fill(payload: Payload, io: IoRequest): void {
    const { length } = payload;
    for (let at = 0; at < length; at += patternBytes) {
      payload.fill(at, this.#pattern, 0, Math.min(patternBytes, length - at));
    }
    io.kind = IoKind.write;
  }
}
