/**
 * Chain: which segments make up the log, and in which order. Follows previousSegId from the newest valid header.
 *
 *     files:  1 ─ 2 ─ 3 ─ 5        4, 6, 7: prepared ahead or left behind by a crash ("leftovers")
 *     packs:  └───┘      ◀┘ newest header
 *
 * The file of a segment that is in a pack is a leftover, too: the pack is whole, or it would not be in force.
 */
import { NumberList } from '../../base/number-list.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import type { Seeds } from '../format/checksum.ts';
import { decodeSegmentHeader, type SegmentHeader } from '../format/segment-header.ts';
import { limits } from '../limits.ts';
import type { Containers } from '../pack/containers.ts';
import type { PoolFiles } from '../pool-files.ts';
import type { Steps } from '../steps.ts';
import { type SegmentReader, slotsAtOnceMax } from './scan.ts';
import { SegmentSource } from './segment-source.ts';

/** A file without a valid header may hold a frame that starts in its first slots (a frame is at most 1,024 slots long). */
const probeSlots = 1025;
const zeros = new Uint8Array(slotsAtOnceMax * slotSizeBytes);

export interface ChainLink {
  readonly segId: number;
  readonly header: SegmentHeader;
  /** Where the next segment says that this one ends; undefined for the last. */
  readonly endAddress: number | undefined;
}

export interface Chain {
  /** In log order; of a chain that begins at a known segment, those behind it. */
  readonly links: readonly ChainLink[];
  /** Files of the folder that are not part of the log. */
  readonly leftoverIds: readonly number[];
  /** Greatest id of any file, valid or not. */
  readonly segIdMax: number;
  readonly faults: readonly string[];
  /** Greatest durableThrough that segment headers and stray frames in leftovers vouch for. */
  readonly durableThrough: number;
}

/** Where segments are looked for. */
export interface SegmentPlaces {
  readonly files: Pick<PoolFiles, 'segIds'>;
  readonly containers: Containers;
}

/** Segments that need not be read: they are the log up to `last`. */
interface KnownSegments {
  readonly size: number;
  /** The id at an index of the log; 0 behind the last. */
  segIdAt(index: number): number;
}

/**
 * Reads the headers of all segments but the known ones; those of `voidEpoch` and later do not count (0 = all count). Throws
 * DiskError, and FormatError for headers of a newer version.
 */
export function* findChain(
  places: SegmentPlaces,
  segmentSlots: number,
  seeds: Seeds,
  { voidEpoch, known }: { readonly voidEpoch: number; readonly known: KnownSegments | undefined },
): Steps<Chain> {
  const { containers } = places;
  const { unknownIds, knownThere, orphanIds, segIdMax } = yield* findSegments(places, known);
  const { headers, errors } = yield* readHeaders(unknownIds, containers, { segmentSlots, seeds });
  const faults: string[] = [];
  const epochEnd = voidEpoch === 0 ? Number.POSITIVE_INFINITY : voidEpoch;
  const counting = [...headers].filter(([, { epoch }]) => epoch < epochEnd);
  const knownSegId = known === undefined ? 0 : known.segIdAt(known.size - 1);
  const links = linkBackwards(new Map(counting), knownSegId, faults);
  const missing = (known?.size ?? 0) - knownThere;
  if (missing > 0) faults.push(`${missing} segments are missing`);
  const inChain = new Set(links.map((link) => link.segId));
  // A file with a valid header that the log does not name is left alone: it is evidence, not free space.
  const named = [inChain, headers, errors];
  const unusedIds = unknownIds.filter(
    (segId) => containers.packIdOf(segId) === 0 && named.every((segments) => !segments.has(segId)),
  );
  // Packs that nothing is missing without were on their way out.
  const isWhole = links[0]?.header.previousSegId === knownSegId && missing === 0;
  if (!isWhole) faults.push(...containers.damaged.map(({ text }) => text));
  faults.push(...unreadableFaults(errors, links.at(-1)?.segId ?? 0));
  const strays: Stray[] = [];
  for (const segId of unusedIds) {
    strays.push({ segId, durable: yield* strayDurable(containers, segId, segmentSlots, seeds) });
  }
  faults.push(...lostFaults(strays));
  const vouched = [...links.map(({ header }) => header.durableThrough), ...strays.map(durableOf)];
  const durableThrough = vouched.reduce((most, each) => Math.max(most, each), 0);
  const leftoverIds = [...unusedIds, ...orphanIds];
  return { links, leftoverIds, segIdMax, faults, durableThrough };
}

/** A file that is not part of the log, and how far its frames say that the log was durable. */
interface Stray {
  readonly segId: number;
  readonly durable: number;
}

function durableOf({ durable }: Stray): number {
  return durable;
}

/** Frames alone prove nothing: a machine lost in the first write to a segment may keep them and lose the header. */
function lostFaults(strays: readonly Stray[]): string[] {
  return strays
    .filter(({ segId, durable }) => durable > addressOf(segId, 0))
    .map(
      ({ segId }) =>
        `segment ${segId}: header unreadable, but it held durable frames; they are lost`,
    );
}

/** The segments that there are. */
interface FoundSegments {
  /** Those that are not known, ascending. */
  readonly unknownIds: readonly number[];
  /** How many of the known ones are there. */
  readonly knownThere: number;
  /** Those with a file that are in a pack, too. */
  readonly orphanIds: readonly number[];
  readonly segIdMax: number;
}

function* findSegments(
  { files, containers }: SegmentPlaces,
  known: KnownSegments | undefined,
): Steps<FoundSegments> {
  const packedIds = new NumberList();
  for (const segId of containers.segIds()) packedIds.add(segId);
  const [own, packed] = [files.segIds, packedIds.values().sort()];
  const found = { unknownIds: [] as number[], orphanIds: [] as number[], knownThere: 0 };
  let [ownAt, packedAt, knownAt, count] = [0, 0, 0, 0];
  while (ownAt < own.length || packedAt < packed.length) {
    count += 1;
    if (count % limits.namesPerStep === 0) yield;
    const ownId = own[ownAt] ?? Number.POSITIVE_INFINITY;
    const packedId = packed[packedAt] ?? Number.POSITIVE_INFINITY;
    const segId = Math.min(ownId, packedId);
    if (ownId === segId) ownAt += 1;
    if (packedId === segId) packedAt += 1;
    if (ownId === packedId) found.orphanIds.push(segId);
    knownAt = indexFrom(known, knownAt, segId);
    if (known?.segIdAt(knownAt) === segId) found.knownThere += 1;
    else found.unknownIds.push(segId);
  }
  return { ...found, segIdMax: Math.max(own.at(-1) ?? 0, packed.at(-1) ?? 0) };
}

/** From `index` on, the first of the known segments whose id is not less than `segId`. */
function indexFrom(known: KnownSegments | undefined, index: number, segId: number): number {
  if (known === undefined) return 0;
  let at = index;
  while (at < known.size && known.segIdAt(at) < segId) at += 1;
  return at;
}

/** The headers of segments, and of which the disk refused to read them. */
function* readHeaders(
  ids: readonly number[],
  containers: Containers,
  { segmentSlots, seeds }: { readonly segmentSlots: number; readonly seeds: Seeds },
): Steps<{
  readonly headers: ReadonlyMap<number, SegmentHeader>;
  readonly errors: ReadonlyMap<number, string>;
}> {
  const headers = new Map<number, SegmentHeader>();
  const errors = new Map<number, string>();
  for (const segId of ids) {
    yield;
    const packed = containers.find(segId);
    if (packed !== undefined) {
      const header = decodeSegmentHeader(packed.segmentHeader(), segId, seeds);
      if (header !== undefined) headers.set(segId, header);
      continue;
    }
    const source = new SegmentSource(containers, segId, segmentSlots, seeds);
    const found = source.header();
    source.close();
    if (found !== undefined) headers.set(segId, found.header);
    else if (source.headerError !== undefined) errors.set(segId, source.headerError);
  }
  return { headers, errors };
}

/** Segments before the newest one of the log that cannot be read would be missing in it: that is told by the chain. */
function unreadableFaults(errors: ReadonlyMap<number, string>, newest: number): string[] {
  return [...errors]
    .filter(([segId]) => segId >= newest)
    .map(([segId, error]) => `segment ${segId}: nobody knows what it holds (${error})`);
}

/** From the newest header back to the one behind `knownSegId`. */
function linkBackwards(
  headers: ReadonlyMap<number, SegmentHeader>,
  knownSegId: number,
  faults: string[],
): ChainLink[] {
  const links: ChainLink[] = [];
  let segId = 0;
  for (const id of headers.keys()) segId = Math.max(segId, id);
  let endAddress: number | undefined;
  while (segId !== knownSegId) {
    const header = headers.get(segId);
    if (header === undefined) {
      faults.push(`segment ${segId}: missing or its header is unreadable; it and all before it`);
      break;
    }
    links.push({ segId, header, endAddress });
    endAddress = header.previousEnd;
    if (header.previousSegId >= segId) {
      faults.push(`segment ${segId}: names a later segment as the one before`);
      break;
    }
    segId = header.previousSegId;
  }
  return links.toReversed();
}

function isZero(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0;
}

/** Whether all of the first slots are there, and zero. */
function* areZero(reader: SegmentReader, segId: number, end: number): Steps<boolean> {
  for (let slot = 0; slot < end; slot += slotsAtOnceMax) {
    const count = Math.min(slotsAtOnceMax, end - slot);
    if (!isZero(reader.glance(addressOf(segId, slot), count))) return false;
    yield;
  }
  return true;
}

/** Greatest durableThrough of frames in a file without a valid header; 0 = it holds none. */
function* strayDurable(
  containers: Containers,
  segId: number,
  segmentSlots: number,
  seeds: Seeds,
): Steps<number> {
  const source = new SegmentSource(containers, segId, segmentSlots, seeds);
  const reader = source.reader();
  let durable = 0;
  const end = Math.min(probeSlots, segmentSlots);
  // One look at a file that was only prepared. At all of it: the first pages of one that was written may be lost, too.
  if (yield* areZero(reader, segId, end)) {
    source.close();
    return durable;
  }
  for (let slot = 1; slot < end; slot += 1) {
    const loaded = reader.frame(addressOf(segId, slot));
    if (loaded === undefined) continue;
    durable = Math.max(durable, loaded.frame.durableThrough);
  }
  source.close();
  return durable;
}
