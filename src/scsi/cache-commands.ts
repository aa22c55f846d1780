/** SYNCHRONIZE CACHE and PRE-FETCH (10) and (16), SBC-3 5.28, 5.29, 5.11 and 5.12. */
import { type RangeFields, range10, range16, takeRange } from './block-range.ts';
import { byteAt } from './bytes.ts';
import type { Handler } from './command-row.ts';
import { prefetchBytesMax } from './limits.ts';
import { MediumScan } from './medium-scan.ts';
import { startFlush } from './unit-commands.ts';

const immediate = 0x02;

/** The whole cache is flushed whatever the range: the store has one flush. IMMED is answered when it is done, too. */
function synchronizeCache({ lba, blocks }: RangeFields): Handler {
  return (command) => {
    const { cdb } = command;
    if (takeRange(command, lba(cdb), blocks(cdb)) >= 0) startFlush(command);
  };
}

export const synchronizeCache10 = synchronizeCache(range10);
export const synchronizeCache16 = synchronizeCache(range16);

/**
 * Reads ahead into the system's page cache. A range that is longer than what is read ahead "does not fit into the cache":
 * GOOD; one that does: CONDITION MET (SBC-3 table 43).
 */
function prefetch({ lba, blocks }: RangeFields): Handler {
  return (command) => {
    const { cdb, unit } = command;
    const start = lba(cdb);
    const count = blocks(cdb);
    // Zero blocks mean everything from there on.
    const length = takeRange(
      command,
      start,
      count === 0 ? Math.max(0, unit.blockCount - start) : count,
    );
    if (length < 0) return;
    const isShort = length <= prefetchBytesMax && (byteAt(cdb, 1) & immediate) === 0;
    if (!isShort || length === 0) command.succeed();
    else command.startWork(new MediumScan(length, { kind: 'prefetch' }));
  };
}

export const prefetch10 = prefetch(range10);
export const prefetch16 = prefetch(range16);
