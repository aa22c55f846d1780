/**
 * The index of a log of many TiB that was never written: runs in the real format, of a volume whose extents of 1 MiB were each
 * written once, in no order. Runs of the levels that lookups at a few cuts need are whole; of the others there are names.
 *
 *     segment s, 31 frames:  [header][256 blocks] [header][256 blocks] ...       cut = the first frame of a segment
 *     extent of the volume = number of the frame * factor mod number of extents
 */
import fs from 'node:fs';
import path from 'node:path';
import { SystemDisk } from '../../src/host/disk.ts';
import { addressOf, positionOf, slotSizeBytes } from '../../src/volume/format/address.ts';
import type { Seeds } from '../../src/volume/format/checksum.ts';
import { encodeFooter } from '../../src/volume/format/footer.ts';
import { RecordType } from '../../src/volume/format/frame.ts';
import type { SegmentRow } from '../../src/volume/format/segment-rows.ts';
import { EntryKind, IndexEntry } from '../../src/volume/index/entry.ts';
import type { RunPlace } from '../../src/volume/index/run-format.ts';
import { runPath } from '../../src/volume/index/run-path.ts';
import { RunSegments } from '../../src/volume/index/run-segments.ts';
import { type RunSummary, RunWriter } from '../../src/volume/index/run-writer.ts';
import { segmentPath } from '../../src/volume/log/segment-path.ts';

const slots = 8192;
const fanOut = 8;
const extentBlocks = 256;
const framesPerSegment = 31;
const leafExtents = 2;
const ticksPerMs = 100;
/** A cut at each multiple of so many segments: then lookups need runs of level 4 and above. */
const cutSegments = 4096;
const wholeFrom = 4;

export interface ScaleLog {
  readonly folder: string;
  readonly poolUuid: Uint8Array;
  readonly seeds: Seeds;
  readonly line: number;
  /** The last segment that was never written; the first one is real. */
  readonly lastSegId: number;
  readonly rowOf: (segId: number) => SegmentRow;
}

/** Bytes of the volume that the log maps. */
export function mappedBytes(lastSegId: number): number {
  return extentCount(lastSegId) * extentBlocks * slotSizeBytes;
}

/** Positions of the cuts, oldest first. */
export function cutsOf(lastSegId: number): number[] {
  const count = Math.floor(lastSegId / cutSegments);
  return Array.from({ length: count }, (_, at) => positionAt((at + 1) * cutSegments, 0));
}

/** Real rows of segments that have no bytes, for a manifest; their times go on for `spanMs` after that of the first. */
export function rowsOf(first: SegmentRow, lastSegId: number, spanMs: number): SegmentRow[] {
  const rows = [first];
  let before = first;
  for (let segId = 2; segId <= lastSegId; segId += 1) {
    before = {
      segId,
      epoch: first.epoch,
      hlcMs: first.hlcMs + Math.floor((spanMs * segId) / (lastSegId + 1)),
      endSlot: 1 + framesPerSegment * (1 + extentBlocks),
      entryCount: framesPerSegment,
      previousSegId: before.segId,
      previousTag: before.tag,
      tag: Uint8Array.from({ length: 8 }, (_, at) => segId * 31 + at * (segId >>> 8)),
    };
    rows.push(before);
  }
  return rows;
}

function extentCount(lastSegId: number): number {
  return (lastSegId - 1) * framesPerSegment;
}

function slotAt(frame: number): number {
  return 1 + frame * (1 + extentBlocks);
}

function positionAt(segId: number, frame: number): number {
  return positionOf(addressOf(segId, slotAt(frame)), 0);
}

/** A factor without a common divisor with `count`, and its inverse. */
function factorOf(count: number): { readonly factor: number; readonly inverse: number } {
  for (let factor = Math.floor(count * 0.618); ; factor += 1) {
    let [high, low, before, now] = [count, factor, 0, 1];
    while (low > 0) {
      const times = Math.floor(high / low);
      [high, low] = [low, high - times * low];
      [before, now] = [now, before - times * now];
    }
    if (high === 1) return { factor, inverse: (before + count) % count };
  }
}

export class ScaleIndex {
  readonly #log: ScaleLog;
  readonly #disk: SystemDisk;
  readonly #factor: number;
  readonly #inverse: number;
  readonly #extents: number;

  constructor(log: ScaleLog) {
    this.#log = log;
    this.#disk = new SystemDisk(log.folder);
    this.#extents = extentCount(log.lastSegId);
    const { factor, inverse } = factorOf(this.#extents);
    this.#factor = factor;
    this.#inverse = inverse;
  }

  /** Footers of the segments that cuts lie in: what tells the time of a cut. */
  putFooters(): void {
    const { lastSegId, seeds, poolUuid, folder } = this.#log;
    for (let segId = cutSegments; segId <= lastSegId; segId += cutSegments) {
      for (const each of [segId - 1, segId]) {
        const file = fs.openSync(path.join(folder, segmentPath(each)), 'w');
        const footer = encodeFooter(this.#footerOf(each), poolUuid, seeds);
        fs.writeSync(file, footer, 0, footer.length, slots * slotSizeBytes);
        fs.closeSync(file);
      }
    }
  }

  /** All runs of the log: whole, or only their names. Returns what the manifest must say of each. */
  *putRuns(): Generator<RunSummary> {
    const { lastSegId, folder } = this.#log;
    fs.mkdirSync(path.join(folder, 'runs'), { recursive: true });
    for (let level = 1, span = fanOut; span <= lastSegId; level += 1, span *= fanOut) {
      for (let firstSegId = 0; firstSegId + span <= lastSegId + 1; firstSegId += span) {
        const place = { level, firstSegId };
        const holdsCut = level === 1 && firstSegId % cutSegments === 0;
        // Lookups begin with the segment that the volume was made in: narrow runs, then wider ones.
        const isFirst = firstSegId < span * fanOut;
        fs.closeSync(fs.openSync(path.join(folder, runPath(place)), 'w'));
        if (level >= wholeFrom || holdsCut || isFirst) yield this.#putRun(place, span);
        else yield nameOnly(place);
      }
    }
  }

  #footerOf(segId: number): Parameters<typeof encodeFooter>[0] {
    const { epoch, endSlot, tag, hlcMs } = this.#log.rowOf(segId);
    const frames = Array.from({ length: framesPerSegment }, (_, frame) => frame);
    return {
      segId,
      epoch,
      endSlot,
      digest: digestOf(tag),
      slotCrcs: new Uint32Array(endSlot),
      entries: frames.map((frame) => ({
        position: positionAt(segId, frame),
        address: addressOf(segId, slotAt(frame) + 1),
        lba: this.#extentOf((segId - 2) * framesPerSegment + frame) * extentBlocks,
        blockCount: extentBlocks,
        line: this.#log.line,
        timeDelta: 0,
        type: RecordType.write,
        flags: 0,
        writer: 0,
      })),
      frames: frames.map((frame) => ({
        slot: slotAt(frame),
        headerBlocks: 1,
        descriptors: 1,
        dataBlocks: extentBlocks,
        hlcMs,
        hlcCounter: 0,
      })),
    };
  }

  #extentOf(frame: number): number {
    return (frame * this.#factor) % this.#extents;
  }

  #putRun(place: RunPlace, span: number): RunSummary {
    const { seeds, poolUuid, rowOf, line } = this.#log;
    const { firstSegId } = place;
    const endSegId = firstSegId + span;
    const segIds = Array.from({ length: span }, (_, at) => firstSegId + at).filter(
      (segId) => segId > 0,
    );
    const listed = segIds.map((segId) => {
      const { epoch, endSlot, entryCount, tag, hlcMs } = rowOf(segId);
      const digest = digestOf(tag);
      return { segId, epoch, endSlot, entryCount, digest, minHlcMs: hlcMs, maxHlcMs: hlcMs };
    });
    const baseTicks = rowOf(segIds[0] ?? 1).hlcMs * ticksPerMs;
    const segments = RunSegments.of(listed);
    const shape = { ...place, fanOut, endSegId, segments, baseTicks };
    const file = this.#disk.open(runPath(place), { create: true });
    const writer = new RunWriter(file, shape, seeds);
    const from = Math.max(0, firstSegId - 2) * framesPerSegment;
    const extents = new Uint32Array((endSegId - 2) * framesPerSegment - from);
    for (let at = 0; at < extents.length; at += 1) extents[at] = this.#extentOf(from + at);
    extents.sort();
    const entry = new IndexEntry();
    for (const extent of extents) {
      const frame = (extent * this.#inverse) % this.#extents;
      const segId = 2 + Math.floor(frame / framesPerSegment);
      const within = frame % framesPerSegment;
      entry.line = line;
      entry.node = Math.floor(extent / leafExtents);
      entry.within = (extent % leafExtents) * extentBlocks;
      entry.blockCount = extentBlocks;
      entry.position = positionAt(segId, within);
      entry.address = addressOf(segId, slotAt(within) + 1);
      entry.kind = EntryKind.write;
      entry.ticks = rowOf(segId).hlcMs * ticksPerMs;
      writer.add(entry);
    }
    const summary = writer.finish(poolUuid);
    file.close();
    return summary;
  }
}

function nameOnly(place: RunPlace): RunSummary {
  const position = positionOf(addressOf(place.firstSegId, 1), 0);
  const positions = { positionLow: position, positionHigh: position };
  return { ...place, ...positions, bytes: 0, entryCount: 0, digest: new Uint8Array(32) };
}

/** One that begins so. */
function digestOf(tag: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  digest.set(tag);
  return digest;
}
