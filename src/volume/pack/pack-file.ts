/** Reads what a pack file says of itself: header, table of members, trailer. */
import type { DiskFile } from '../../base/ports.ts';
import type { Seeds } from '../format/checksum.ts';
import { FormatError } from '../format/format-error.ts';
import {
  decodePackHeader,
  decodePackTable,
  isPackTrailer,
  type Pack,
  packHeaderBytes,
  packTrailerBytes,
} from '../format/pack.ts';
import { MediumFile } from '../scrub/medium-file.ts';
import type { CheckOptions } from '../scrub/segment-check.ts';

/**
 * The pack in a file; undefined when it is not whole (kept blocks, footers and checksums are not looked at). Throws DiskError,
 * and FormatError for a newer version.
 */
export function readPack(
  file: Pick<DiskFile, 'read' | 'size'>,
  packId: number,
  seeds: Seeds,
): Pack | undefined {
  const head = new Uint8Array(packHeaderBytes);
  if (file.read(head, 0) < head.length) return undefined;
  const header = decodePackHeader(head, packId, seeds);
  // A table larger than its file would be memory for nothing.
  if (header === undefined || file.size() !== header.totalBytes) return undefined;
  const table = new Uint8Array(header.tableBytes);
  const trailer = new Uint8Array(packTrailerBytes);
  const isRead =
    file.read(table, header.tableOffset) === table.length &&
    file.read(trailer, header.totalBytes - packTrailerBytes) === trailer.length;
  if (!isRead || !isPackTrailer(trailer, header, seeds)) return undefined;
  return decodePackTable(table, header, seeds);
}

/** Reads the pack in a file from the medium. Throws DiskError, and FormatError when it is not whole. */
export function readPackFrom(
  { disk, seeds, window }: Pick<CheckOptions, 'disk' | 'seeds' | 'window'>,
  { path, packId }: { readonly path: string; readonly packId: number },
): Pack {
  const medium = new MediumFile(disk, path, window);
  try {
    const file = {
      read: (target: Uint8Array, position: number) => medium.read(target, position),
      size: () => disk.sizeOf(path),
    };
    const pack = readPack(file, packId, seeds);
    if (pack === undefined) throw new FormatError(`pack ${packId} is damaged`);
    return pack;
  } finally {
    medium.close();
  }
}
