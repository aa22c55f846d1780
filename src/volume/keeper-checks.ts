/** What the keeper answers about what it finds: errors as plain data, footers that must be there. */
import Database from 'better-sqlite3';
import { DiskError } from '../base/ports.ts';
import type { Seeds } from './format/checksum.ts';
import { encodeFooter, type FooterContents } from './format/footer.ts';
import { FormatError } from './format/format-error.ts';
import type { PackMember } from './format/pack.ts';
import type { KeeperError } from './keeper-jobs.ts';
import type { SegmentSource } from './recovery/segment-source.ts';

/** The frames of a packed segment are gone: its footer must be what the pack says of it. How many entries it has. Throws FormatError. */
export function requireFooter(source: SegmentSource, { segId, epoch, digest }: PackMember): number {
  const header = source.footer(epoch)?.header;
  if (header !== undefined && Buffer.compare(header.digest, digest) === 0) return header.entryCount;
  throw new FormatError(`segment ${segId}: its footer in the pack is damaged`);
}

/** Whether a segment has the footer that its frames make. */
export function isFooterRight(
  source: SegmentSource,
  contents: FooterContents,
  poolUuid: Uint8Array,
  seeds: Seeds,
): boolean {
  const footer = source.footer(contents.epoch);
  if (footer === undefined) return false;
  return Buffer.compare(encodeFooter(contents, poolUuid, seeds), footer.bytes) === 0;
}

/** What a job that failed answers; what is of neither disk, format nor manifest is thrown on. */
export function keeperError(thrown: unknown): KeeperError {
  if (thrown instanceof Database.SqliteError) return { code: 'manifest', message: thrown.message };
  if (thrown instanceof DiskError) return { code: thrown.code, message: thrown.message };
  if (thrown instanceof FormatError) return { code: 'format', message: thrown.message };
  throw thrown;
}
