/**
 * What is recorded in a segment, as far as it is durable: from its footer when it is sealed, else from its frames. The
 * frames of the segment that is being written are remembered, so that asking again costs only what was added since.
 */
import { DiskError } from '../../base/ports.ts';
import { addressOf, positionOf } from '../format/address.ts';
import { type FooterEntry, type FooterFrame, footerEntry, footerFrame } from '../format/footer.ts';
import { FormatError } from '../format/format-error.ts';
import { decodeDescriptor, frameEnd } from '../format/frame.ts';
import { limits } from '../limits.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import { type Footer, SegmentSource } from '../recovery/segment-source.ts';
import type { PoolParts } from './parts.ts';
import { durableEndOf } from './segment-end.ts';

/** Called with each entry in log order and its time in ticks; return false to stop. */
export type EntryVisitor = (entry: FooterEntry, ticks: number) => boolean;

export interface SegmentContents {
  readonly frameCount: number;
  frame(index: number): FooterFrame;
  entry(index: number): FooterEntry;
}

/** Frames of a segment that has no footer, up to `endAddress`. */
interface ReadFrames extends SegmentContents {
  readonly segId: number;
  endAddress: number;
  readonly frames: FooterFrame[];
  readonly entries: FooterEntry[];
}

export class SegmentReading {
  readonly #parts: PoolParts;
  #newest: ReadFrames | undefined;

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** Visits the durable entries of a segment. Throws DiskError or FormatError when it cannot be read; false = stopped. */
  visit(segId: number, visitor: EntryVisitor): boolean {
    return visitFrom(this.contents(segId), 0, visitor);
  }

  /** Undefined when nothing of the segment is durable. Throws DiskError, FormatError. */
  contents(segId: number): SegmentContents | undefined {
    const segment = this.#parts.segmentById.get(segId);
    if (segment === undefined) return undefined;
    const source = this.#source(segId);
    try {
      const footer = segment.crcPlace === undefined ? undefined : source.footer(segment.epoch);
      if (footer !== undefined) return footerContents(footer);
      const endAddress = durableEndOf(this.#parts, segId);
      if (endAddress <= addressOf(segId, 1)) return undefined;
      return this.#readFrames(source, { epoch: segment.epoch, endAddress, isOver: () => false });
    } finally {
      source.close();
    }
  }

  /** Remembers more of a segment's durable frames, until `isOver`; true: there are no more, or they cannot be read. */
  readSome(segId: number, isOver: () => boolean): boolean {
    const segment = this.#parts.segmentById.get(segId);
    if (segment === undefined || segment.crcPlace !== undefined) return true;
    const endAddress = durableEndOf(this.#parts, segId);
    if (endAddress <= this.readThrough(segId)) return true;
    try {
      const source = this.#source(segId);
      try {
        this.#readFrames(source, { epoch: segment.epoch, endAddress, isOver });
      } finally {
        source.close();
      }
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      return true;
    }
    // What is too much to be remembered is read again by who asks.
    return this.#newest?.segId !== segId || this.readThrough(segId) >= endAddress;
  }

  /** Frames of a segment without a footer that lie before this address are remembered. */
  readThrough(segId: number): number {
    return this.#newest?.segId === segId ? this.#newest.endAddress : addressOf(segId, 1);
  }

  #source(segId: number): SegmentSource {
    const { containers, settings, seeds } = this.#parts;
    return new SegmentSource(containers, segId, settings.segmentSlots, seeds);
  }

  #readFrames(
    source: SegmentSource,
    {
      epoch,
      endAddress,
      isOver,
    }: {
      readonly epoch: number;
      readonly endAddress: number;
      readonly isOver: () => boolean;
    },
  ): SegmentContents {
    const { segId } = source;
    const known = this.#newest;
    const read = known?.segId === segId ? known : emptyFrames(segId);
    const reader = source.reader();
    while (read.endAddress < endAddress) {
      const loaded = reader.frame(read.endAddress);
      if (loaded === undefined || loaded.frame.epoch !== epoch) {
        throw new FormatError(`segment ${segId}: no readable frame at address ${read.endAddress}`);
      }
      const { frame, header } = loaded;
      for (let index = 0; index < frame.descriptors; index += 1) {
        const descriptor = decodeDescriptor(header, frame, index);
        const { address, lba, blockCount, line, timeDelta, type, flags, writer } = descriptor;
        const position = positionOf(frame.address, index);
        read.entries.push({
          position,
          address,
          lba,
          blockCount,
          line,
          timeDelta,
          type,
          flags,
          writer,
        });
      }
      const { headerBlocks, descriptors, dataBlocks, hlcMs, hlcCounter } = frame;
      const slot = frame.address - addressOf(segId, 0);
      read.frames.push({ slot, headerBlocks, descriptors, dataBlocks, hlcMs, hlcCounter });
      read.endAddress = frameEnd(frame);
      if (isOver()) break;
    }
    const isSmall = read.entries.length <= limits.rememberedEntriesMax;
    if (isSmall && segId >= (known?.segId ?? 0)) this.#newest = read;
    else if (known === read) this.#newest = undefined;
    return read;
  }
}

function emptyFrames(segId: number): ReadFrames {
  const frames: FooterFrame[] = [];
  const entries: FooterEntry[] = [];
  return {
    segId,
    endAddress: addressOf(segId, 1),
    frames,
    entries,
    get frameCount() {
      return frames.length;
    },
    frame: (index) => itemAt(frames, index),
    entry: (index) => itemAt(entries, index),
  };
}

function itemAt<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new FormatError(`a segment has no entry ${index}`);
  return item;
}

function footerContents({ header, bytes }: Footer): SegmentContents {
  return {
    frameCount: header.frameCount,
    frame: (index) => footerFrame(bytes, header, index),
    entry: (index) => footerEntry(bytes, index),
  };
}

/** Visits entries from the first one of frame `firstFrame` on; false when the visitor stopped it. */
export function visitFrom(
  contents: SegmentContents | undefined,
  firstFrame: number,
  visitor: EntryVisitor,
): boolean {
  if (contents === undefined) return true;
  let index = 0;
  for (let at = 0; at < contents.frameCount; at += 1) {
    const { descriptors, hlcMs } = contents.frame(at);
    const end = index + descriptors;
    if (at < firstFrame) index = end;
    for (; index < end; index += 1) {
      const entry = contents.entry(index);
      if (!visitor(entry, hlcMs * ticksPerMs + entry.timeDelta)) return false;
    }
  }
  return true;
}
