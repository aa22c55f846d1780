/** Makes of a run what it was before runs were paged: all tables in one piece, to be read and verified as a whole. */
import { createHash } from 'node:crypto';
import { viewOf } from '../../src/base/fields.ts';
import type { Seeds } from '../../src/volume/format/checksum.ts';
import {
  bitmapPageBytes,
  blockRecordsAt,
  decodeRunHeader,
  encodeRunHeader,
  encodeRunTrailer,
  fenceBlocksOf,
  fenceBytes,
  fencesPerBlock,
  lineBytes,
  lineLayout,
  pageNumberBytes,
  type RunHeader,
  type RunPlace,
  runBlockBytes,
  runBlocksOf,
  runBytesOf,
  runTablesCrc,
  segmentBytes,
  segmentsPerBlock,
} from '../../src/volume/index/run-format.ts';

/** Records that lie in blocks from number `first` on, in one piece. */
function recordsIn(
  bytes: Uint8Array,
  first: number,
  { count, perBlock, size }: { count: number; perBlock: number; size: number },
): Uint8Array {
  const records: Uint8Array[] = [];
  for (let index = 0; index < count; index += 1) {
    const block = first + Math.floor(index / perBlock);
    const at = block * runBlockBytes + blockRecordsAt + (index % perBlock) * size;
    records.push(bytes.subarray(at, at + size));
  }
  return Buffer.concat(records);
}

function linesAndPages(top: Uint8Array, header: RunHeader): Uint8Array[] {
  const linesAt = fenceBlocksOf(header) * fenceBytes;
  const pagesAt = linesAt + header.lineCount * lineBytes;
  const bitsAt = pagesAt + header.pageCount * pageNumberBytes;
  const lines = top.slice(linesAt, pagesAt);
  for (let at = 0; at < lines.length; at += lineBytes) {
    lineLayout.firstPage.set(viewOf(lines), at, 0);
  }
  const pieces = [lines];
  for (let page = 0; page < header.pageCount; page += 1) {
    const [number, bits] = [pagesAt + page * pageNumberBytes, bitsAt + page * bitmapPageBytes];
    pieces.push(
      top.slice(number, number + pageNumberBytes),
      top.slice(bits, bits + bitmapPageBytes),
    );
  }
  return pieces;
}

/** `bytes` are a whole run of `place`; the result is the caller's. */
export function unpagedRun(
  bytes: Uint8Array,
  place: RunPlace,
  { poolUuid, seeds }: { readonly poolUuid: Uint8Array; readonly seeds: Seeds },
): Uint8Array {
  const paged = decodeRunHeader(bytes, place, seeds);
  if (paged === undefined) throw new Error('not a run');
  const { blockCount, segmentCount } = paged;
  const fences = { count: blockCount, perBlock: fencesPerBlock, size: fenceBytes };
  const rows = { count: segmentCount, perBlock: segmentsPerBlock, size: segmentBytes };
  const top = bytes.subarray((1 + runBlocksOf(paged)) * runBlockBytes);
  const tables = Buffer.concat([
    recordsIn(bytes, 1 + blockCount, fences),
    ...linesAndPages(top, paged),
    recordsIn(bytes, 1 + blockCount + fenceBlocksOf(paged), rows),
  ]);
  const header = { ...paged, isPaged: false, tablesCrc: runTablesCrc(tables, place, seeds) };
  const head = new Uint8Array(runBlockBytes);
  encodeRunHeader(head, header, poolUuid, seeds);
  const entries = bytes.subarray(runBlockBytes, (1 + blockCount) * runBlockBytes);
  const digest = createHash('sha256').update(entries).update(tables).update(head).digest();
  const trailer = encodeRunTrailer(place, runBytesOf(header), digest, seeds);
  return new Uint8Array(Buffer.concat([head, entries, tables, trailer]));
}
