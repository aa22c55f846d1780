/**
 * Recovery: from files to a state that may be served, once the pool's lock is held. Of the part of the log that the manifest
 * knows, nothing is read: it begins with the newest checkpoint of the catalogue. When anything does not fit, all is read.
 *
 *     superblock ─▶ chain of segments ─▶ sealed: footers   ─▶ replay ─▶ catalogue (of a damaged log: maps, too)
 *                                     ─▶ tail: every frame verified, data included
 *                ─▶ the accepted tail, and footers that nothing proves durable, are made so (rewritten in place, flushed)
 *
 * Invariants
 * 1. The recovered state is a prefix of the log, and holds everything that was acknowledged on a durable volume.
 * 2. A torn tail (never acknowledged) is cut off silently; unreadable data below the greatest `durableThrough` that any
 *    valid frame or header vouches for is rot: the pool opens read-only and names the places.
 * 3. What the manifest says is believed only when the log behind it, which is always read, leads on from exactly there.
 * 4. Nothing is served before the accepted tail is durable: a killed process leaves frames in the page cache only, and a
 *    failed flush may have marked them clean, so they are written again, not only flushed.
 * 5. No segment counts as sealed whose footer a lost machine could still take: once it does, nobody looks at its frames. A
 *    footer is proven durable by its row in the manifest, which comes after the flush; all others are written again.
 */
import { present } from '../../base/assert.ts';
import { type Disk, DiskError } from '../../base/ports.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import {
  addressOf,
  frameAddressOf,
  positionOf,
  segIdOf,
  slotOf,
  slotSizeBytes,
} from '../format/address.ts';
import { Seeds } from '../format/checksum.ts';
import type { FooterEntry } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import type { PackMember } from '../format/pack.ts';
import { digestTagBytes, type SegmentRow, segmentRowOf } from '../format/segment-rows.ts';
import type { Superblock } from '../format/superblock.ts';
import type { Line } from '../io/line.ts';
import type { CrcTables } from '../log/crc-tables.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import { segmentFolder, segmentPath } from '../log/segment-path.ts';
import type { LeafStore } from '../map/leaf-store.ts';
import type { Containers } from '../pack/containers.ts';
import type { PoolFiles } from '../pool-files.ts';
import type { Steps } from '../steps.ts';
import { type Chain, type ChainLink, findChain } from './chain.ts';
import { rewrite, rewriteEach, type SegmentBytes } from './make-durable.ts';
import { isOfHistory, type KnownLog } from './manifest.ts';
import { CatalogueReplay, isApplicable, MapReplay, type PlacedRecord } from './replay.ts';
import {
  catalogueEntries,
  crcTableOf,
  eachFooterEntry,
  type Footer,
  lastEntryOf,
  SegmentSource,
} from './segment-source.ts';
import { SegmentTable } from './segment-table.ts';
import { readTail, type TailRecord } from './tail.ts';

export interface Recovered {
  readonly catalogue: Catalogue;
  /** Every catalogue record of the segments that were read, for the manifest. */
  readonly records: readonly PlacedRecord[];
  /** Current lines of all volumes and views, when the log is damaged; else none: then the index says what they hold. */
  readonly lineById: Map<number, Line>;
  readonly segments: SegmentTable;
  /** What the manifest must say of the sealed ones that were read. */
  readonly sealed: readonly SegmentRow[];
  /** The first segment that was read; 0 = all were. */
  readonly readFrom: number;
  readonly leftoverPaths: string[];
  readonly nextSegId: number;
  /** Last segment and end of the log; 0 for a pool that never wrote. */
  readonly lastSegId: number;
  readonly endAddress: number;
  readonly digest: Uint8Array;
  readonly lastHlcMs: number;
  /** Why the pool must stay read-only: what acknowledged data is unreadable. Empty = all is well. */
  readonly faults: string[];
  /** Acknowledged writes are missing and nobody knows which: older content shows in their place. */
  readonly isIncomplete: boolean;
  readonly tailFrames: number;
  readonly logBytes: number;
  /** Records behind `endAddress` that could not be made durable in place: log them again before serving. */
  readonly relog: readonly TailRecord[];
}

export interface RecoverOptions {
  readonly disk: Disk;
  /** Found when nobody else had the pool any more. */
  readonly files: Pick<PoolFiles, 'segIds'>;
  /** Loaded. */
  readonly containers: Containers;
  readonly superblock: Superblock;
  readonly leaves: LeafStore;
  readonly crcTables: CrcTables;
  /** What the manifest says of the log; undefined = nothing, all is read. This call takes it over. */
  readonly known: KnownLog | undefined;
}

/** Reads the log and makes its tail durable. Throws DiskError (disk fails) or FormatError (newer version, damaged beyond use). */
export function* recoverLog(options: RecoverOptions): Steps<Recovered> {
  const { known, superblock } = options;
  if (known === undefined || superblock.relogEpoch !== 0) {
    return yield* readWhole(options, firstTry);
  }
  const from = segIdOf(frameAddressOf(known.checkpointPosition));
  const attempt = { ...firstTry, provenTags: known.segments.tagsFrom(from) };
  known.segments.cutAt(from);
  return (yield* recoverKnown(options, attempt)) ?? (yield* readWhole(options, attempt));
}

function* readWhole(options: RecoverOptions, attempt: Attempt): Steps<Recovered> {
  const recovered = yield* new Recovery({ ...options, known: undefined }, attempt).run();
  return present(recovered, 'a recovered log');
}

/** Undefined when what the manifest says is nothing, or doubtful. */
function* recoverKnown(options: RecoverOptions, attempt: Attempt): Steps<Recovered | undefined> {
  if (options.known === undefined || options.known.segments.size === 0) return undefined;
  try {
    return yield* new Recovery(options, attempt).run();
  } catch (thrown) {
    if (thrown instanceof FormatError) return undefined;
    throw thrown;
  }
}

/**
 * Bytes of the log that this opening would read again: from the newest checkpoint on, all when there is none. A segment counts as a
 * whole, however little of it an opening that was killed has used: each costs a look, and until its row is in the manifest a flush.
 */
export function bytesSinceCheckpoint({ records, segments }: Recovered): number {
  const last = records.findLast(({ record }) => record.kind === 'checkpoint');
  const from = last === undefined ? 0 : segIdOf(frameAddressOf(last.position));
  return (segments.size - segments.indexOf(from)) * segments.segmentSlots * slotSizeBytes;
}

interface Cut {
  readonly address: number;
  readonly relog: readonly TailRecord[];
}

interface Attempt {
  /** Second pass: the log ends here, because what lies behind is logged again. */
  readonly cut: Cut | undefined;
  /** First bytes of the digests of segments whose footers are durable. */
  readonly provenTags: ReadonlyMap<number, Uint8Array>;
  /** Segments whose footers the disk would not keep: read from their frames. */
  readonly unsealed: ReadonlySet<number>;
}

const firstTry: Attempt = { cut: undefined, provenTags: new Map(), unsealed: new Set() };

class Recovery {
  readonly #options: RecoverOptions;
  readonly #attempt: Attempt;
  readonly #cut: Cut | undefined;
  readonly #disk: Disk;
  readonly #superblock: Superblock;
  readonly #seeds: Seeds;
  readonly #crcTables: CrcTables;
  readonly #replay: CatalogueReplay;
  /** Entries of the segments that have no footer. */
  readonly #entriesBySegId = new Map<number, readonly FooterEntry[]>();
  readonly #segments: SegmentTable;
  readonly #sealed: SegmentRow[] = [];
  readonly #unprovenFooters: SegmentBytes[] = [];
  readonly #faults: string[] = [];
  /** How many of the faults name a block that answers with an error, so that nothing wrong can be read there. */
  #namedBlocks = 0;
  #durableThrough: number;
  #digest: Uint8Array = new Uint8Array(32);
  #lastHlcMs: number;
  #tailFrames = 0;

  constructor(options: RecoverOptions, attempt: Attempt) {
    this.#options = options;
    this.#attempt = attempt;
    this.#cut = attempt.cut;
    this.#disk = options.disk;
    this.#superblock = options.superblock;
    this.#seeds = new Seeds(options.superblock.poolUuid);
    this.#crcTables = options.crcTables;
    this.#replay = new CatalogueReplay(options.known ? 'checkpoint' : 'first record');
    this.#segments =
      options.known?.segments ??
      new SegmentTable(options.superblock.segmentSlots, options.containers);
    this.#durableThrough = options.superblock.durableThrough;
    this.#lastHlcMs = options.superblock.hlcMsHighWater;
  }

  /** Undefined when the log does not lead on from what was known. */
  *run(): Steps<Recovered | undefined> {
    const { segmentSlots, relogEpoch } = this.#superblock;
    const { known } = this.#options;
    const chain = yield* findChain(this.#options, segmentSlots, this.#seeds, {
      voidEpoch: relogEpoch,
      known: known?.segments,
    });
    const [first] = chain.links;
    if (known !== undefined && !this.#leadsOn(first)) return undefined;
    this.#faults.push(...chain.faults);
    this.#durableThrough = Math.max(
      this.#durableThrough,
      chain.durableThrough,
      // What is not in packs was given up for the sake of records that are part of the log.
      frameAddressOf(this.#options.containers.keptThrough),
    );
    yield* this.#surveyTail(chain);
    yield* this.#replaySegments(chain.links);
    const last = this.#segments.last();
    const endAddress = last?.endAddress ?? 0;
    this.#checkEnd(endAddress);
    if (known !== undefined && this.#isDoubtful(known, endAddress)) return undefined;
    if (last === undefined || this.#faults.length > 0) return this.#recovered(chain);
    if (!this.#makeTailDurable()) return yield* this.#recoverWithout(last.segId, endAddress);
    const refused = rewriteEach(this.#disk, this.#unprovenFooters);
    if (refused.length === 0) return this.#recovered(chain);
    const unsealed = new Set([...this.#attempt.unsealed, ...refused]);
    return yield* readWhole(this.#options, { ...this.#attempt, unsealed });
  }

  #checkEnd(endAddress: number): void {
    if (endAddress >= this.#durableThrough || this.#faults.length > 0) return;
    this.#faults.push(
      `the log ends at address ${endAddress}, but was durable through ${this.#durableThrough}`,
    );
  }

  #recovered(chain: Chain): Recovered {
    const isDamaged = this.#faults.length > 0;
    const lineById = isDamaged ? this.#lines(this.#replayMaps()) : new Map<number, Line>();
    const isWhole = this.#options.known === undefined;
    const last = this.#segments.last();
    return {
      catalogue: this.#replay.catalogue,
      records: this.#replay.records,
      lineById,
      segments: this.#segments,
      sealed: this.#sealed,
      readFrom: isWhole ? 0 : (chain.links[0]?.segId ?? 0),
      leftoverPaths: chain.leftoverIds.map(segmentPath),
      nextSegId: Math.max(chain.segIdMax, this.#superblock.segIdHighWater) + 1,
      lastSegId: last?.segId ?? 0,
      endAddress: last?.endAddress ?? 0,
      digest: this.#digest,
      lastHlcMs: this.#lastHlcMs,
      faults: this.#faults,
      isIncomplete: this.#faults.length > this.#namedBlocks,
      tailFrames: this.#tailFrames,
      logBytes: (this.#segments.endSlotTotal - this.#segments.size) * slotSizeBytes,
      relog: this.#cut?.relog ?? [],
    };
  }

  /** The tail cannot be made durable where it lies: recovers what is before it, and takes the tail along to be logged again. */
  *#recoverWithout(lastSegId: number, endAddress: number): Steps<Recovered> {
    const address = Math.max(this.#durableThrough, addressOf(lastSegId, 1));
    const source = this.#source(lastSegId);
    const relog = readTail(source.reader(), address, endAddress);
    source.close();
    if (relog === undefined) {
      throw new DiskError('EIO', `segment ${lastSegId} can neither be made durable nor read`);
    }
    const cut = { address: this.#durableThrough, relog };
    return yield* readWhole(this.#options, { ...this.#attempt, cut });
  }

  /** Whether the first segment that was read says of the last known one what is known of it. */
  #leadsOn(first: ChainLink | undefined): boolean {
    const joint = this.#segments.last();
    if (first === undefined || joint?.digestTag === undefined) return false;
    const { previousSegId, previousEnd, previousDigest, epoch } = first.header;
    return (
      previousSegId === joint.segId &&
      previousEnd === joint.endAddress &&
      epoch >= joint.epoch &&
      Buffer.compare(previousDigest.subarray(0, digestTagBytes), joint.digestTag) === 0
    );
  }

  /** Whether anything of what was known and read does not fit together. */
  #isDoubtful(known: KnownLog, endAddress: number): boolean {
    return (
      this.#faults.length > 0 ||
      !this.#replay.hasBegun ||
      known.appliedPosition > positionOf(endAddress, 0) ||
      !isOfHistory(known.epochs, this.#replay.catalogue.epochs)
    );
  }

  *#replaySegments(links: readonly ChainLink[]): Steps<void> {
    for (const link of links) {
      yield;
      const cut = link.endAddress === undefined ? this.#cut : undefined;
      // The last segment's own header is durable only when something behind it is.
      if (cut !== undefined && cut.address <= addressOf(link.segId, 1)) continue;
      yield* this.#segment(cut === undefined ? link : { ...link, endAddress: cut.address });
    }
  }

  /** Data that makes no sense (a record before it rotted) is a fault, too. */
  #paint(maps: MapReplay, entry: FooterEntry): void {
    try {
      maps.apply(entry);
    } catch (thrown) {
      if (!(thrown instanceof FormatError) || thrown.isTooNew) throw thrown;
      this.#faults.push(thrown.message);
    }
  }

  #lines(maps: MapReplay): Map<number, Line> {
    return maps.finish();
  }

  /** Second pass over all entries, of a log that is damaged: the maps of the lines that volumes and views are in. */
  #replayMaps(): MapReplay {
    const { catalogue } = this.#replay;
    const wanted = catalogue
      .currentLines()
      .map((line) => ({ line, before: Number.POSITIVE_INFINITY }));
    const maps = new MapReplay(this.#options.leaves, catalogue, wanted, undefined);
    for (const segment of this.#segments.values()) {
      const entries = this.#entriesBySegId.get(segment.segId);
      if (entries !== undefined) {
        for (const entry of entries) this.#paint(maps, entry);
        continue;
      }
      const source = this.#source(segment.segId);
      const footer = source.footer(segment.epoch);
      source.close();
      if (footer === undefined) {
        throw new DiskError('EIO', `segment ${segment.segId}: footer became unreadable`);
      }
      eachFooterEntry(footer, (entry) => {
        this.#paint(maps, entry);
      });
    }
    this.#entriesBySegId.clear();
    return maps;
  }

  /** Every valid frame of the last segment says how far the log was durable when it was written, also frames behind a gap. */
  *#surveyTail(chain: Chain): Steps<void> {
    const last = chain.links.at(-1);
    if (last === undefined) return;
    const source = this.#source(last.segId);
    const reader = source.reader();
    const end = addressOf(last.segId, this.#superblock.segmentSlots - 1) + 1;
    let address = addressOf(last.segId, 1);
    for (;;) {
      const loaded = yield* reader.findFrame(address, last.header.epoch, end);
      if (loaded === undefined) break;
      this.#durableThrough = Math.max(this.#durableThrough, loaded.frame.durableThrough);
      address = loaded.frame.address + loaded.frame.headerBlocks + loaded.frame.dataBlocks;
      yield;
    }
    source.close();
  }

  #source(segId: number): SegmentSource {
    return new SegmentSource(
      this.#options.containers,
      segId,
      this.#superblock.segmentSlots,
      this.#seeds,
    );
  }

  *#segment(link: ChainLink): Steps<void> {
    const source = this.#source(link.segId);
    try {
      if (yield* this.#sealedSegment(link, source)) return;
      if (source.packed === undefined) yield* this.#openSegment(link, source);
      else this.#damagedMember(link, source.packed);
    } finally {
      source.close();
    }
  }

  /** Replays a segment from its footer; false when it has none that counts. */
  *#sealedSegment(link: ChainLink, source: SegmentSource): Steps<boolean> {
    if (this.#attempt.unsealed.has(link.segId)) return false;
    const footer = source.footer(link.header.epoch);
    const start = addressOf(link.segId, 0);
    if (footer === undefined) return false;
    const endAddress = start + footer.header.endSlot;
    if (link.endAddress !== undefined && link.endAddress !== endAddress) return false;
    if (source.packed === undefined) this.#noteFooter(link.segId, footer);
    for (const entry of catalogueEntries(footer, isApplicable)) yield* this.#apply(entry, source);
    if (!footer.header.isThinned) this.#crcTables.add(link.segId, crcTableOf(footer), false);
    const row = segmentRowOf(link.header, footer.header);
    this.#segments.addSealed(row);
    this.#sealed.push(row);
    this.#digest = footer.header.digest;
    this.#noteTime(footer.header.maxHlcMs, lastEntryOf(footer));
    return true;
  }

  /** What is in a pack was durable before it came there. */
  #noteFooter(segId: number, { header }: Footer): void {
    const tag = this.#attempt.provenTags.get(segId);
    const isProven =
      tag !== undefined && Buffer.compare(tag, header.digest.subarray(0, digestTagBytes)) === 0;
    if (isProven) return;
    const fromByte = this.#superblock.segmentSlots * slotSizeBytes;
    this.#unprovenFooters.push({ segId, fromByte, endByte: fromByte + header.totalBytes });
  }

  /** `last` was recorded up to 655 ms after the header of its frame: the next opening's records come later than both. */
  #noteTime(frameMs: number, last: FooterEntry | undefined): void {
    const lastMs = frameMs + Math.ceil((last?.timeDelta ?? 0) / ticksPerMs);
    this.#lastHlcMs = Math.max(this.#lastHlcMs, lastMs);
  }

  /** A catalogue record that cannot be read, or one that makes no sense without it, is a fault: the rest is still shown. */
  *#apply(entry: FooterEntry, source: SegmentSource): Steps<void> {
    try {
      yield* this.#replay.apply(entry, (position) => source.payload(position));
    } catch (thrown) {
      if (!(thrown instanceof FormatError) || thrown.isTooNew) throw thrown;
      this.#faults.push(thrown.message);
    }
  }

  /** Without its footer nobody knows what a packed segment recorded. */
  #damagedMember(link: ChainLink, { endSlot, digest }: PackMember): void {
    const pack = this.#options.containers.find(link.segId)?.packId ?? 0;
    this.#faults.push(`segment ${link.segId}: its footer in pack ${pack} is damaged`);
    this.#entriesBySegId.set(link.segId, []);
    this.#addOpen(link, addressOf(link.segId, endSlot));
    this.#digest = digest;
  }

  #addOpen({ segId, header }: ChainLink, endAddress: number): void {
    const { epoch, hlcMs } = header;
    this.#segments.add({ segId, epoch, hlcMs });
    this.#segments.ended(segId, endAddress);
  }

  /** Replays a segment that was never sealed, or whose footer is damaged, from its frames. */
  *#openSegment(link: ChainLink, source: SegmentSource): Steps<void> {
    const scan = source.scan({
      verifiesData: true,
      endLimit: link.endAddress ?? Number.POSITIVE_INFINITY,
      durableLimit: link.endAddress ?? this.#durableThrough,
    });
    if (scan === undefined) throw new FormatError(`segment ${link.segId}: header unreadable`);
    this.#faults.push(...scan.faults);
    if (!scan.isIncomplete) this.#namedBlocks += scan.faults.length;
    for (const entry of scan.entries) yield* this.#apply(entry, source);
    this.#entriesBySegId.set(link.segId, scan.entries);
    this.#crcTables.add(link.segId, scan.slotCrcs, true);
    this.#addOpen(link, scan.endAddress);
    this.#digest = scan.digest;
    this.#noteTime(link.header.hlcMs, undefined);
    this.#noteTime(scan.lastHlcMs, scan.entries.at(-1));
    this.#tailFrames += scan.frames.length;
  }

  /** Writes the part of the tail again that nothing vouches for as durable, and flushes it with its folder; false = the disk refused. */
  #makeTailDurable(): boolean {
    try {
      this.#rewriteTail();
      return true;
    } catch (thrown) {
      if (!(thrown instanceof DiskError) || this.#cut !== undefined) throw thrown;
      return false;
    }
  }

  #rewriteTail(): void {
    const segments = this.#segments;
    let index = segments.indexOf(segIdOf(this.#durableThrough));
    for (; index < segments.size; index += 1) {
      const segment = segments.at(index);
      // What is in a pack was durable before it came there.
      if (segment === undefined || segment.container !== 0) continue;
      if (segment.endAddress <= this.#durableThrough) continue;
      const { segId } = segment;
      const segmentStart = addressOf(segId, 0);
      const isHeaderDurable = segIdOf(this.#durableThrough) === segId;
      const from = isHeaderDurable ? this.#durableThrough : segmentStart;
      const fromByte = slotOf(from) * slotSizeBytes;
      const endByte = (segment.endAddress - segmentStart) * slotSizeBytes;
      rewrite(this.#disk, { segId, fromByte, endByte });
    }
    this.#disk.flushFolder(segmentFolder);
  }
}
