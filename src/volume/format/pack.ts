/**
 * Pack: what is left of segments whose other blocks nobody can reach any more. Addresses stay what they were: a member says
 * which slots of its segment it keeps, and their blocks follow each other in the order of the log.
 *
 *     packs/0000002a.pack
 *     [header, 4 KiB][member][member]...[table][trailer, 64 B]
 *
 *     member = [kept slots, 4 KiB each][the segment's footer][u32 CRC32C per kept slot][zeros up to 4 KiB]
 *     table  = [members, 88 B each][per member: the segment's header without the zeros at its end, bitmap]
 *
 * Invariants
 * 1. A pack has its name only when all of it is durable and was read back; nothing in it ever changes.
 * 2. The slot of rank r among the kept slots of a member is its block r: what was side by side in the segment is so here.
 * 3. A segment may be in several packs while old ones are on their way out: the pack with the greatest id counts, and what it
 *    keeps of the segment the older ones have, too.
 */
import { crc32c } from '../../base/crc32c.ts';
import { bytes, u16, u32, u64, viewOf } from '../../base/fields.ts';
import { slotSizeBytes, slotsPerSegmentMax } from './address.ts';
import type { Seeds } from './checksum.ts';
import { isSealed, preamble, refuseNewer, seal } from './preamble.ts';

const packVersion = 1;
/** Feature flag: the members' footers are thinned. */
const thinned = 1;
export const packHeaderBytes = 4096;
const headerUsedBytes = 80;
export const packTrailerBytes = 64;
const magic = 0x4b50_4d54; // "TMPK"
const trailerMagic = 0x4550_4d54; // "TMPE"
/** Parts in checksum seeds: 0 is the header, a member's is its segment id. */
const tablePart = 0xffff_fffe;
const trailerPart = 0xffff_ffff;

const headerLayout = {
  ...preamble,
  compatible: u32(16),
  memberCount: u32(20),
  packId: u64(24),
  tableOffset: u64(32),
  tableBytes: u32(40),
  tableCrc: u32(44),
  poolUuid: bytes(48, 16),
  totalBytes: u64(64),
  keptThrough: u64(72),
} as const;

const memberLayout = {
  segId: u64(0),
  epoch: u64(8),
  endSlot: u32(16),
  entryCount: u32(20),
  /** Slots that the pack has, and how many of them are data blocks: the others hold catalogue records. */
  keptSlots: u32(24),
  keptBlocks: u32(28),
  offset: u64(32),
  footerBytes: u32(40),
  /** Of footer and checksums. */
  metaCrc: u32(44),
  headOffset: u32(48),
  headBytes: u16(52),
  mapBytes: u16(54),
  digest: bytes(56, 32),
} as const;
const memberBytes = 88;
const noBitmap = new Uint8Array(0);

const trailerLayout = {
  crc: preamble.crc,
  magic: preamble.magic,
  packId: u64(8),
  totalBytes: u64(16),
  headerCrc: u32(24),
} as const;

/** What a pack says of one segment. */
export interface PackMember {
  readonly segId: number;
  readonly epoch: number;
  /** First slot behind the last frame. */
  readonly endSlot: number;
  /** Records of the segment. */
  readonly entryCount: number;
  /** Of its frames. */
  readonly digest: Uint8Array;
  /** Slot 0, without the zeros at its end. */
  readonly segmentHeader: Uint8Array;
  /** Bit n % 8 of byte n / 8 = slot n is kept; empty when none is. */
  readonly bitmap: Uint8Array;
  readonly keptSlots: number;
  /** Those of them that are data blocks; the others are headers of frames with catalogue records. */
  readonly keptBlocks: number;
  /** Byte offset in the pack of the first kept slot; the footer follows the last one. */
  readonly offset: number;
  readonly footerBytes: number;
  readonly metaCrc: number;
}

export interface Pack {
  readonly packId: number;
  /** Of the whole file. */
  readonly totalBytes: number;
  /** What is not kept was judged by the log before this position: a log that ends before it has lost something. 0 = not known. */
  readonly keptThrough: number;
  /** Its footers have only records of what could be reached, and no checksums. */
  readonly isThinned: boolean;
  /** By ascending segment id. */
  readonly members: PackMembers;
}

/**
 * The members of a pack where they lie in its table, decoded as they are asked for: a pool that was overwritten often has
 * hundreds of thousands, of which most keep nothing.
 */
export class PackMembers implements Iterable<PackMember> {
  readonly length: number;
  readonly table: Uint8Array;
  readonly #view: DataView;

  /** `table` was verified, and stays as it is. */
  constructor(table: Uint8Array, length: number) {
    this.length = length;
    this.table = table;
    this.#view = viewOf(table);
  }

  /** Views the table. */
  at(index: number): PackMember | undefined {
    if (index < 0 || index >= this.length) return undefined;
    const headOffset = memberLayout.headOffset.get(this.#view, index * memberBytes);
    return decodeMember(this.table, index * memberBytes, headOffset);
  }

  segIdAt(index: number): number {
    return memberLayout.segId.get(this.#view, index * memberBytes);
  }

  find(segId: number): PackMember | undefined {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.segIdAt(middle) < segId) low = middle + 1;
      else high = middle;
    }
    return low < this.length && this.segIdAt(low) === segId ? this.at(low) : undefined;
  }

  *segIds(): Generator<number> {
    for (let index = 0; index < this.length; index += 1) yield this.segIdAt(index);
  }

  *[Symbol.iterator](): Generator<PackMember> {
    for (let index = 0; index < this.length; index += 1) {
      const member = this.at(index);
      if (member !== undefined) yield member;
    }
  }
}

/** A pack as it goes from one thread to another: plain data. */
export interface PlainPack extends Omit<Pack, 'members'> {
  readonly memberCount: number;
  readonly table: Uint8Array;
}

export function plainPackOf({ members, ...pack }: Pack): PlainPack {
  return { ...pack, memberCount: members.length, table: members.table };
}

/** Keeps the table. */
export function packOf({ memberCount, table, ...pack }: PlainPack): Pack {
  return { ...pack, members: new PackMembers(table, memberCount) };
}

export interface PackHeader {
  readonly packId: number;
  readonly memberCount: number;
  readonly tableOffset: number;
  readonly tableBytes: number;
  readonly tableCrc: number;
  readonly totalBytes: number;
  readonly keptThrough: number;
  readonly isThinned: boolean;
  readonly crc: number;
}

/** Bytes of a member's footer and checksums. */
export function packMetaBytes({
  footerBytes,
  keptSlots,
}: Pick<PackMember, 'footerBytes' | 'keptSlots'>): number {
  return footerBytes + keptSlots * 4;
}

/** Byte offset in the pack behind a member, where the next one begins. */
export function packMemberEnd(
  member: Pick<PackMember, 'offset' | 'footerBytes' | 'keptSlots'>,
): number {
  const end = member.offset + member.keptSlots * slotSizeBytes + packMetaBytes(member);
  return Math.ceil(end / slotSizeBytes) * slotSizeBytes;
}

/** Checksum of a member's footer and checksums. */
export function packMetaCrc(meta: Uint8Array, packId: number, segId: number, seeds: Seeds): number {
  return crc32c(meta, seeds.pack(packId, segId));
}

function tableBytesOf(members: readonly PackMember[]): number {
  let total = members.length * memberBytes;
  for (const { segmentHeader, bitmap } of members) total += segmentHeader.length + bitmap.length;
  return total;
}

/** The header, and what lies behind the members, whose footers are thinned: table and trailer. */
export function encodePack(
  {
    packId,
    keptThrough,
    members,
  }: Pick<Pack, 'packId' | 'keptThrough'> & { readonly members: readonly PackMember[] },
  poolUuid: Uint8Array,
  seeds: Seeds,
): { readonly header: Uint8Array; readonly end: Uint8Array; readonly pack: Pack } {
  const last = members.at(-1);
  const tableOffset = last === undefined ? packHeaderBytes : packMemberEnd(last);
  const tableBytes = tableBytesOf(members);
  const totalBytes = tableOffset + tableBytes + packTrailerBytes;
  const end = new Uint8Array(tableBytes + packTrailerBytes);
  const table = end.subarray(0, tableBytes);
  let headOffset = members.length * memberBytes;
  members.forEach((member, index) => {
    encodeMember(table, index * memberBytes, member, headOffset);
    table.set(member.segmentHeader, headOffset);
    table.set(member.bitmap, headOffset + member.segmentHeader.length);
    headOffset += member.segmentHeader.length + member.bitmap.length;
  });
  const header = new Uint8Array(packHeaderBytes);
  const view = viewOf(header);
  headerLayout.magic.set(view, 0, magic);
  headerLayout.version.set(view, 0, packVersion);
  headerLayout.length.set(view, 0, headerUsedBytes);
  headerLayout.incompatible.set(view, 0, thinned);
  headerLayout.keptThrough.set(view, 0, keptThrough);
  headerLayout.memberCount.set(view, 0, members.length);
  headerLayout.packId.set(view, 0, packId);
  headerLayout.tableOffset.set(view, 0, tableOffset);
  headerLayout.tableBytes.set(view, 0, tableBytes);
  headerLayout.tableCrc.set(view, 0, crc32c(table, seeds.pack(packId, tablePart)));
  headerLayout.poolUuid.set(header, 0, poolUuid);
  headerLayout.totalBytes.set(view, 0, totalBytes);
  const headerCrc = seal(header, seeds.pack(packId, 0));
  const trailer = end.subarray(tableBytes);
  const trailerView = viewOf(trailer);
  trailerLayout.magic.set(trailerView, 0, trailerMagic);
  trailerLayout.packId.set(trailerView, 0, packId);
  trailerLayout.totalBytes.set(trailerView, 0, totalBytes);
  trailerLayout.headerCrc.set(trailerView, 0, headerCrc);
  seal(trailer, seeds.pack(packId, trailerPart));
  const written = new PackMembers(table, members.length);
  const pack = { packId, totalBytes, keptThrough, isThinned: true, members: written };
  return { header, end, pack };
}

function encodeMember(table: Uint8Array, at: number, member: PackMember, headOffset: number): void {
  const view = viewOf(table);
  memberLayout.segId.set(view, at, member.segId);
  memberLayout.epoch.set(view, at, member.epoch);
  memberLayout.endSlot.set(view, at, member.endSlot);
  memberLayout.entryCount.set(view, at, member.entryCount);
  memberLayout.keptSlots.set(view, at, member.keptSlots);
  memberLayout.keptBlocks.set(view, at, member.keptBlocks);
  memberLayout.offset.set(view, at, member.offset);
  memberLayout.footerBytes.set(view, at, member.footerBytes);
  memberLayout.metaCrc.set(view, at, member.metaCrc);
  memberLayout.headOffset.set(view, at, headOffset);
  memberLayout.headBytes.set(view, at, member.segmentHeader.length);
  memberLayout.mapBytes.set(view, at, member.bitmap.length);
  memberLayout.digest.set(table, at, member.digest);
}

/**
 * The header of the pack with this id; undefined when `head` (the first 4 KiB) is none. Throws FormatError only for a valid
 * one of a newer version.
 */
export function decodePackHeader(
  head: Uint8Array,
  packId: number,
  seeds: Seeds,
): PackHeader | undefined {
  if (head.length < packHeaderBytes) return undefined;
  const structure = head.subarray(0, packHeaderBytes);
  if (!isSealed(structure, magic, seeds.pack(packId, 0))) return undefined;
  const view = viewOf(structure);
  refuseNewer(view, packVersion, `pack ${packId}`, thinned);
  const header: PackHeader = {
    packId: headerLayout.packId.get(view, 0),
    memberCount: headerLayout.memberCount.get(view, 0),
    tableOffset: headerLayout.tableOffset.get(view, 0),
    tableBytes: headerLayout.tableBytes.get(view, 0),
    tableCrc: headerLayout.tableCrc.get(view, 0),
    totalBytes: headerLayout.totalBytes.get(view, 0),
    keptThrough: headerLayout.keptThrough.get(view, 0),
    isThinned: (headerLayout.incompatible.get(view, 0) & thinned) !== 0,
    crc: headerLayout.crc.get(view, 0),
  };
  const isPlausible =
    header.packId === packId &&
    header.memberCount * memberBytes <= header.tableBytes &&
    header.totalBytes === header.tableOffset + header.tableBytes + packTrailerBytes;
  return isPlausible ? header : undefined;
}

/** Whether `trailer` (the last 64 bytes) ends the pack that `header` begins. */
export function isPackTrailer(trailer: Uint8Array, header: PackHeader, seeds: Seeds): boolean {
  if (trailer.length !== packTrailerBytes) return false;
  if (!isSealed(trailer, trailerMagic, seeds.pack(header.packId, trailerPart))) return false;
  const view = viewOf(trailer);
  return (
    trailerLayout.packId.get(view, 0) === header.packId &&
    trailerLayout.totalBytes.get(view, 0) === header.totalBytes &&
    trailerLayout.headerCrc.get(view, 0) === header.crc
  );
}

/** The members, of bytes of `table`, which they take over; undefined when it is not what the header says. */
export function decodePackTable(
  table: Uint8Array,
  header: PackHeader,
  seeds: Seeds,
): Pack | undefined {
  const { packId, memberCount, totalBytes, keptThrough, isThinned } = header;
  if (table.length !== header.tableBytes) return undefined;
  if (crc32c(table, seeds.pack(packId, tablePart)) !== header.tableCrc) return undefined;
  let lastSegId = 0;
  let offset = packHeaderBytes;
  let headOffset = memberCount * memberBytes;
  for (let index = 0; index < memberCount; index += 1) {
    const member = decodeMember(table, index * memberBytes, headOffset);
    const isNext = member?.offset === offset && member.segId > lastSegId;
    if (!isNext || !isPlausibleMember(member)) return undefined;
    lastSegId = member.segId;
    offset = packMemberEnd(member);
    headOffset += member.segmentHeader.length + member.bitmap.length;
  }
  if (headOffset !== table.length || offset !== header.tableOffset) return undefined;
  const members = new PackMembers(table, memberCount);
  return { packId, totalBytes, keptThrough, isThinned, members };
}

function decodeMember(table: Uint8Array, at: number, headOffset: number): PackMember | undefined {
  const view = viewOf(table);
  const headBytes = memberLayout.headBytes.get(view, at);
  const mapOffset = headOffset + headBytes;
  const mapBytes = memberLayout.mapBytes.get(view, at);
  const isInside =
    memberLayout.headOffset.get(view, at) === headOffset &&
    headBytes <= slotSizeBytes &&
    mapOffset + mapBytes <= table.length;
  if (!isInside) return undefined;
  return {
    segId: memberLayout.segId.get(view, at),
    epoch: memberLayout.epoch.get(view, at),
    endSlot: memberLayout.endSlot.get(view, at),
    entryCount: memberLayout.entryCount.get(view, at),
    // No copies.
    digest: memberLayout.digest.get(table, at),
    segmentHeader: table.subarray(headOffset, mapOffset),
    bitmap: mapBytes === 0 ? noBitmap : table.subarray(mapOffset, mapOffset + mapBytes),
    keptSlots: memberLayout.keptSlots.get(view, at),
    keptBlocks: memberLayout.keptBlocks.get(view, at),
    offset: memberLayout.offset.get(view, at),
    footerBytes: memberLayout.footerBytes.get(view, at),
    metaCrc: memberLayout.metaCrc.get(view, at),
  };
}

function isPlausibleMember({ endSlot, bitmap, keptSlots, keptBlocks }: PackMember): boolean {
  if (endSlot > slotsPerSegmentMax || keptBlocks > keptSlots) return false;
  if (bitmap.length !== (keptSlots === 0 ? 0 : packMapBytes(endSlot))) return false;
  let count = 0;
  for (let slot = 0; slot < bitmap.length * 8; slot += 1) {
    if (!isSlotIn(bitmap, slot)) continue;
    if (slot === 0 || slot >= endSlot) return false;
    count += 1;
  }
  return count === keptSlots;
}

/** Bytes of a bitmap of the slots below `endSlot`. */
export function packMapBytes(endSlot: number): number {
  return Math.ceil(endSlot / 8);
}

export function isSlotIn(bitmap: Uint8Array, slot: number): boolean {
  return ((bitmap[slot >> 3] ?? 0) & (1 << (slot & 7))) !== 0;
}

export function addSlot(bitmap: Uint8Array, slot: number): void {
  bitmap[slot >> 3] = (bitmap[slot >> 3] ?? 0) | (1 << (slot & 7));
}
