/**
 * Log index: what any line held at any position of the log, leaf by leaf, without replay.
 *
 *     (line, position, leaf) ─▶ line's records before the position, newest first:  runs ◂ segments behind the newest run
 *                            ─▶ what is left undecided: the same in the line that it began in, before its fork position ...
 *                            ─▶ what is left then: holes
 *
 * A run that cannot be read is done without: the segments it was made from say the same. A segment that cannot be read
 * leaves the leaf unknown, never wrong.
 */
import { DiskError, type Log } from '../../base/ports.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { frameAddressOf, segIdOf, slotSizeBytes } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { LeafSource } from '../map/leaf-source.ts';
import { type Clip, LeafPainter } from './leaf-painter.ts';
import { describeRun, type RunPlace } from './run-format.ts';
import type { RunReader } from './run-reader.ts';
import type { Piece, RunSet } from './run-set.ts';
import { SegmentIndex, type SegmentVisitor } from './segment-index.ts';

/** The records of segments, as far as they are durable. */
export interface SegmentRecords {
  has(segId: number): boolean;
  /** Position behind the last durable record; Infinity when the segment is sealed. */
  through(segId: number): number;
  /** Throws DiskError, FormatError. */
  visit(segId: number, ...args: Parameters<SegmentVisitor>): void;
}

export interface LogIndexOptions {
  readonly catalogue: Catalogue;
  readonly runs: RunSet;
  readonly reader: RunReader;
  readonly records: SegmentRecords;
  readonly log: Log;
  /** RAM of segment indexes that are kept. */
  readonly segmentIndexBytes: number;
  /** A run was found damaged and is not used any more. */
  readonly onBadRun: (place: RunPlace) => void;
}

/** A line before a position, or one that it began in before the fork. */
interface Link {
  readonly line: number;
  readonly before: number;
  readonly firstSegId: number;
  readonly lastSegId: number;
  /** Newest first. */
  readonly clips: readonly Clip[];
  /** Size that the line began with. */
  readonly blockCount: number;
  pieces: readonly Piece[];
}

interface KeptIndex {
  readonly index: SegmentIndex;
  readonly through: number;
}

export class LogIndex {
  readonly #options: LogIndexOptions;
  /** In order of use, oldest first. */
  readonly #segments = new Map<number, KeptIndex>();
  #segmentBytes = 0;
  readonly #painter = new LeafPainter();

  constructor(options: LogIndexOptions) {
    this.#options = options;
  }

  /** RAM of what is kept for lookups. */
  get bytes(): number {
    return this.#segmentBytes + this.#options.reader.bytes;
  }

  get #runs(): RunSet {
    return this.#options.runs;
  }

  /** The leaves of a line as they were before `position`. Throws FormatError when there is no such line. */
  source(line: number, position: number): LeafSource {
    const links = this.#links(line, position);
    let version = -1;
    const ready = (): readonly Link[] => {
      if (version !== this.#runs.version) this.#decompose(links);
      version = this.#runs.version;
      return links;
    };
    return {
      load: (leaf) => this.#load(ready, leaf),
      isEmpty: (first, count) => this.#isEmpty(ready, first, count),
    };
  }

  #links(line: number, position: number): Link[] {
    const links: Link[] = [];
    let id = line;
    let before = position;
    while (id !== 0) {
      const state = this.#options.catalogue.line(id);
      const clips = state.resizes
        .filter((resize) => resize.position < before)
        .map((resize) => ({
          position: resize.position,
          blockCount: resize.sizeBytes / slotSizeBytes,
        }))
        .toReversed();
      links.push({
        line: id,
        before,
        firstSegId: segIdOf(frameAddressOf(state.createdPosition)),
        lastSegId: segIdOf(frameAddressOf(Math.max(0, before - 1))),
        clips,
        blockCount: state.sizeBytes / slotSizeBytes,
        pieces: [],
      });
      before = state.forkPosition;
      id = state.parentLine;
    }
    return links;
  }

  #decompose(links: readonly Link[]): void {
    const { records } = this.#options;
    const hasSegment = (segId: number): boolean => records.has(segId);
    for (const link of links) {
      link.pieces = this.#runs.pieces(link.firstSegId, link.lastSegId, hasSegment);
    }
  }

  #load(ready: () => readonly Link[], leaf: number): Float64Array | undefined {
    const painter = this.#painter;
    const read = (): boolean => {
      painter.begin(leaf);
      for (const link of ready()) {
        painter.enterLine(link.clips);
        for (let index = link.pieces.length - 1; index >= 0 && !painter.isDone; index -= 1) {
          const piece = link.pieces[index];
          if (piece !== undefined && !this.#paint(piece, link, leaf)) return false;
        }
        if (painter.isDone) return true;
        painter.leaveLine(link.blockCount);
      }
      painter.finish();
      return true;
    };
    try {
      // Each time it fails there is a run less.
      while (!read());
      return painter.values;
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      this.#options.log.error('a part of a map cannot be read', { leaf, error: thrown.message });
      return undefined;
    }
  }

  /** False when the piece was a run that is no longer used: to be asked again. Throws DiskError, FormatError. */
  #paint(piece: Piece, { line, before }: Link, leaf: number): boolean {
    const { reader } = this.#options;
    if (piece.kind === 'segment') {
      this.#segment(piece.segId, before).paint(line, leaf, before, this.#painter);
      return true;
    }
    try {
      reader.paint(piece.place, { line, leaf, before }, this.#painter);
      return true;
    } catch (thrown) {
      this.#dropRun(piece.place, thrown);
      return false;
    }
  }

  #dropRun(place: RunPlace, thrown: unknown): void {
    if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
    const { log, reader, onBadRun } = this.#options;
    log.error('an index run cannot be read; it is made again', {
      run: describeRun(place),
      error: thrown.message,
    });
    this.#runs.remove(place);
    reader.forget(place);
    onBadRun(place);
  }

  #isEmpty(ready: () => readonly Link[], first: number, count: number): boolean {
    const look = (): boolean | undefined => {
      for (const link of ready()) {
        for (const piece of link.pieces) {
          const has = this.#hasLeaves(piece, link, first, count);
          if (has !== false) return has === undefined ? undefined : false;
        }
      }
      return true;
    };
    let found = look();
    while (found === undefined) found = look();
    return found;
  }

  /** Undefined when the piece was a run that is no longer used. */
  #hasLeaves(
    piece: Piece,
    { line, before }: Link,
    first: number,
    count: number,
  ): boolean | undefined {
    if (piece.kind === 'run') {
      try {
        return this.#options.reader.tables(piece.place).hasLeaves(line, first, count);
      } catch (thrown) {
        this.#dropRun(piece.place, thrown);
        return undefined;
      }
    }
    try {
      return this.#segment(piece.segId, before).hasLeaves(line, first, count);
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
      return true;
    }
  }

  /** The index of a segment with all records before `before`. Throws DiskError, FormatError. */
  #segment(segId: number, before: number): SegmentIndex {
    const { records, segmentIndexBytes } = this.#options;
    const known = this.#segments.get(segId);
    if (known !== undefined) {
      this.#segments.delete(segId);
      if (known.through >= before) {
        this.#segments.set(segId, known);
        return known.index;
      }
      this.#segmentBytes -= known.index.bytes;
    }
    const through = records.through(segId);
    const index = new SegmentIndex((visit) => {
      records.visit(segId, visit);
    });
    this.#segments.set(segId, { index, through });
    this.#segmentBytes += index.bytes;
    for (const [oldest, kept] of this.#segments) {
      if (this.#segmentBytes <= segmentIndexBytes || oldest === segId) break;
      this.#segments.delete(oldest);
      this.#segmentBytes -= kept.index.bytes;
    }
    return index;
  }
}
