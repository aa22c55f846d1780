/**
 * Log index: what any line held at any position of the log, leaf by leaf, without replay.
 *
 *     (line, position, leaf) ─▶ line's records before the position, newest first:  runs ◂ segments behind the newest run
 *                            ─▶ what is left undecided: the same in the line that it began in, before its fork position ...
 *                            ─▶ what is left then: holes
 *
 * A run that cannot be read is done without: the segments it was made from say the same. A segment that cannot be read
 * leaves the leaf unknown, never wrong.
 *
 * What a client waits for is looked up in steps that read off the main thread, a bounded number of leaves at a time: the
 * disk's thread pool serves the reads of data, too.
 */
import { DiskError, type Log } from '../../base/ports.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { frameAddressOf, segIdOf, slotSizeBytes } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { LeafSource } from '../map/leaf-source.ts';
import { LeafChanges, type Stretch } from './leaf-changes.ts';
import { type Clip, LeafPainter } from './leaf-painter.ts';
import { type LookupSteps, runLater, runNow } from './lookup-steps.ts';
import { describeRun, type RunPlace } from './run-format.ts';
import { type RunReader, RunsChanged } from './run-reader.ts';
import type { Piece, RunSet } from './run-set.ts';
import { SegmentIndex, type SegmentVisitor } from './segment-index.ts';

/** The records of segments, as far as they are durable. */
export interface SegmentRecords {
  has(segId: number): boolean;
  /** Position behind the last durable record; Infinity when the segment is sealed. */
  through(segId: number): number;
  /** Throws DiskError, FormatError. */
  visit(segId: number, ...args: Parameters<SegmentVisitor>): void;
  /** Brings what `visit` would read into the page cache, as far as that can be; throws nothing. */
  fetch(segId: number): LookupSteps<void>;
}

export interface LogIndexOptions {
  readonly catalogue: Catalogue;
  readonly runs: RunSet;
  readonly reader: RunReader;
  readonly records: SegmentRecords;
  readonly log: Log;
  /** RAM of segment indexes that are kept. */
  readonly segmentIndexBytes: number;
  /** So many leaves are looked up off the main thread at once. */
  readonly lookupsMax: number;
  /** A run was found damaged and is not used any more. */
  readonly onBadRun: (place: RunPlace) => void;
}

/** A line as it was before position `cut`. */
interface Moment {
  readonly line: number;
  readonly cut: number;
}

/** A line before a position, or one that it began in before the fork. */
interface Link {
  readonly line: number;
  readonly createdPosition: number;
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

/** One leaf that is being looked up. */
interface Lookup {
  readonly links: () => readonly Link[];
  readonly leaf: number;
  readonly painter: LeafPainter;
  /** Others go on while it reads. */
  readonly isLater: boolean;
}

type Loaded = (values: Float64Array | undefined) => void;

export class LogIndex {
  readonly #options: LogIndexOptions;
  /** In order of use, oldest first. */
  readonly #segments = new Map<number, KeptIndex>();
  #segmentBytes = 0;
  readonly #painter = new LeafPainter();
  /** For lookups off the main thread: those in use, and those that wait for one. */
  #lookups = 0;
  readonly #freePainters: LeafPainter[] = [];
  readonly #waiting: (() => void)[] = [];

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
      load: (leaf) =>
        runNow(this.#load({ links: ready, leaf, painter: this.#painter, isLater: false })),
      loadLater: (leaf, done) => {
        this.#loadLater(ready, leaf, done);
      },
      isEmpty: (first, count) => this.#isEmpty(ready(), first, count),
    };
  }

  /** Which leaves can differ between two moments. Throws FormatError when there is no such line. */
  changes(left: Moment, right: Moment): LeafChanges {
    return new LeafChanges(
      this.#links(left.line, left.cut),
      this.#links(right.line, right.cut),
      (stretch, page, bits) => this.#touched(stretch, page, bits),
    );
  }

  /** What cannot be read may have touched everything. */
  *#touched(stretch: Stretch, page: number, bits: Uint8Array): LookupSteps<void> {
    const { records } = this.#options;
    const hasSegment = (segId: number): boolean => records.has(segId);
    const first = segIdOf(frameAddressOf(stretch.from));
    const last = segIdOf(frameAddressOf(stretch.to - 1));
    for (;;) {
      const pieces = this.#runs.pieces(first, last, hasSegment);
      try {
        for (const piece of pieces) yield* this.#touchedBy(piece, stretch, page, bits);
        return;
      } catch (thrown) {
        // There is a run less, or another: bits that are set already stay, they only make suspect.
        if (thrown instanceof RunsChanged) continue;
        if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
        bits.fill(0xff);
        return;
      }
    }
  }

  /** Throws DiskError, FormatError, RunsChanged. */
  *#touchedBy(piece: Piece, stretch: Stretch, page: number, bits: Uint8Array): LookupSteps<void> {
    if (piece.kind === 'segment') {
      const index = yield* this.#segmentSteps(piece.segId, stretch.to);
      index.touched(stretch, page, bits);
      return;
    }
    try {
      yield* this.#options.reader.touched(piece.place, stretch, page, bits);
    } catch (thrown) {
      if (!(thrown instanceof RunsChanged)) this.#dropRun(piece.place, thrown);
      throw new RunsChanged();
    }
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
        createdPosition: state.createdPosition,
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
      link.pieces = this.#runs.piecesOfLine(link.firstSegId, link.lastSegId, hasSegment);
    }
  }

  #loadLater(links: () => readonly Link[], leaf: number, done: Loaded): void {
    if (this.#lookups === this.#options.lookupsMax) {
      this.#waiting.push(() => {
        this.#loadLater(links, leaf, done);
      });
      return;
    }
    this.#lookups += 1;
    const painter = this.#freePainters.pop() ?? new LeafPainter();
    runLater(this.#load({ links, leaf, painter, isLater: true }), (values) => {
      done(values);
      this.#freePainters.push(painter);
      this.#lookups -= 1;
      this.#waiting.shift()?.();
    });
  }

  *#load(lookup: Lookup): LookupSteps<Float64Array | undefined> {
    for (;;) {
      try {
        // Each time it is false there is a run less.
        if (yield* this.#paintLines(lookup)) return lookup.painter.values;
      } catch (thrown) {
        if (thrown instanceof RunsChanged) continue;
        if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
        const { log } = this.#options;
        log.error('a part of a map cannot be read', { leaf: lookup.leaf, error: thrown.message });
        return undefined;
      }
    }
  }

  *#paintLines(lookup: Lookup): LookupSteps<boolean> {
    const { painter } = lookup;
    painter.begin(lookup.leaf);
    for (const link of lookup.links()) {
      painter.enterLine(link.clips);
      // As they are now: while this waits for the disk others may look which runs there are.
      const { pieces } = link;
      for (let index = pieces.length - 1; index >= 0 && !painter.isDone; index -= 1) {
        const piece = pieces[index];
        if (piece !== undefined && !(yield* this.#paint(piece, link, lookup))) return false;
      }
      if (painter.isDone) return true;
      painter.leaveLine(link.blockCount);
    }
    painter.finish();
    return true;
  }

  /** False when the piece was a run that is no longer used: to be asked again. Throws DiskError, FormatError, RunsChanged. */
  *#paint(piece: Piece, { line, before }: Link, lookup: Lookup): LookupSteps<boolean> {
    const { reader } = this.#options;
    const { leaf, painter, isLater } = lookup;
    if (piece.kind === 'segment') {
      const { segId } = piece;
      const index = isLater
        ? yield* this.#segmentSteps(segId, before)
        : this.#segment(segId, before);
      index.paint(line, leaf, before, painter);
      return true;
    }
    try {
      yield* reader.paint(piece.place, { line, leaf, before }, painter);
      return true;
    } catch (thrown) {
      if (thrown instanceof RunsChanged) throw thrown;
      this.#dropRun(piece.place, thrown);
      return false;
    }
  }

  #dropRun(place: RunPlace, thrown: unknown): void {
    if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
    // Removed while the lookup read something else: what is there now says the same, and nothing is wrong.
    if (!this.#runs.isKnown(place)) return;
    const { log, reader, onBadRun } = this.#options;
    log.error('an index run cannot be read; it is made again', {
      run: describeRun(place),
      error: thrown.message,
    });
    this.#runs.remove(place);
    reader.forget(place);
    onBadRun(place);
  }

  #isEmpty(links: readonly Link[], first: number, count: number): boolean {
    return links.every((link) =>
      link.pieces.every((piece) => this.#isWithout(piece, link, first, count)),
    );
  }

  /** Whether a piece surely has nothing of leaves [first, first + count), as far as memory tells. */
  #isWithout(piece: Piece, { line, before }: Link, first: number, count: number): boolean {
    const known =
      piece.kind === 'run'
        ? this.#options.reader.knownTables(piece.place)
        : this.#knownSegment(piece.segId, before);
    return known?.hasLeaves(line, first, count) === false;
  }

  /** The index of a segment with all records before `before` when it is in memory. */
  #knownSegment(segId: number, before: number): SegmentIndex | undefined {
    const known = this.#segments.get(segId);
    if (known === undefined || known.through < before) return undefined;
    this.#segments.delete(segId);
    this.#segments.set(segId, known);
    return known.index;
  }

  /** As `segment`, reading off the main thread. */
  *#segmentSteps(segId: number, before: number): LookupSteps<SegmentIndex> {
    if (this.#knownSegment(segId, before) === undefined) {
      yield* this.#options.records.fetch(segId);
    }
    return this.#segment(segId, before);
  }

  /** As `knownSegment`, but made when it must be. Throws DiskError, FormatError. */
  #segment(segId: number, before: number): SegmentIndex {
    const known = this.#knownSegment(segId, before);
    if (known !== undefined) return known;
    const { records, segmentIndexBytes } = this.#options;
    this.#segmentBytes -= this.#segments.get(segId)?.index.bytes ?? 0;
    this.#segments.delete(segId);
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
