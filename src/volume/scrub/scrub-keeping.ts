/** What the keeper does for verify and for the scrubber: checks segments, superblock and manifest against the log. */
import Database from 'better-sqlite3';
import { type Disk, DiskError } from '../../base/ports.ts';
import { withoutText } from '../catalogue/checkpoint.ts';
import { addressOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { SegmentRow } from '../format/segment-rows.ts';
import type { RunKeeping } from '../index/run-keeping.ts';
import type { SegmentEnd, SegmentEnds } from '../keeper-jobs.ts';
import { openSqlite } from '../manifest-database.ts';
import type { Containers } from '../pack/containers.ts';
import { packPath } from '../pack/pack-path.ts';
import { Manifest, type ManifestRecord } from '../recovery/manifest.ts';
import { eachEnd } from '../recovery/segment-ends.ts';
import { superblockFaults } from '../recovery/superblock-file.ts';
import type { ScrubFault } from '../reports.ts';
import { mediumWindowBytes } from './medium-file.ts';
import { MemberCheck } from './member-check.ts';
import { type CheckedSegment, type CheckOptions, SegmentCheck } from './segment-check.ts';

type Check = SegmentCheck | MemberCheck;
type Segment = SegmentEnd & { readonly isSealed: boolean };

type ScrubSettings = Omit<CheckOptions, 'window'> & { readonly containers: Containers };

export interface ScrubStep {
  readonly segment: Segment;
  /** Read at least so much before answering. */
  readonly bytes: number;
  /** The first segment of the log, in a pass that begins there. */
  readonly isFirst: boolean;
}

export interface ScrubStepped {
  readonly blocks: number;
  readonly isFinished: boolean;
  readonly faults: readonly ScrubFault[];
}

/** What segments say that the manifest must hold. */
interface Expected {
  readonly records: ManifestRecord[];
  readonly rows: SegmentRow[];
}

/** The two that look at everything, each at its own pace. */
export type Looker = 'scrub' | 'verify';

export class ScrubKeeping {
  readonly #disk: Disk;
  readonly #settings: ScrubSettings;
  #window: Uint8Array | undefined;
  #verifyWindow: Uint8Array | undefined;
  #check: Check | undefined;
  /** Whether the segment was sealed when its check began. */
  #isOfSealed = false;
  /** Slots of the check that were told. */
  #slotsTold = 0;
  #before: CheckedSegment | undefined;
  #verified: CheckedSegment | undefined;
  /** Of the pass that each is in; undefined when not all segments were seen in it. */
  readonly #expectedBy: Record<Looker, Expected | undefined> = {
    scrub: undefined,
    verify: undefined,
  };

  constructor(settings: ScrubSettings) {
    this.#settings = settings;
    this.#disk = settings.disk;
  }

  close(): void {
    this.#check?.close();
    this.#check = undefined;
  }

  /** The file is about to be removed or used again: the segment lies elsewhere, and is looked at there from its begin. */
  leave(path: string): void {
    if (this.#check?.path === path) this.close();
  }

  /** Checks one segment at once; `isFirst`: the first of the log. */
  verify(segment: Segment & { readonly isFirst: boolean }): {
    readonly blocks: number;
    readonly faults: readonly string[];
  } {
    // Another than the scrubber's, which reads on from where it is.
    const window = this.#windowAtOnce();
    if (segment.isFirst) this.#expectedBy.verify = { records: [], rows: [] };
    let check: Check | undefined;
    try {
      check = this.#open(segment, window, this.#verified);
      check.step(Number.POSITIVE_INFINITY);
      this.#verified = check.checked;
      if (segment.isSealed) this.#collect(check, 'verify');
      return { blocks: check.slots, faults: check.texts };
    } catch (thrown) {
      this.#verified = undefined;
      this.#expectedBy.verify = undefined;
      return { blocks: 0, faults: [...(check?.texts ?? []), textOf(thrown)] };
    } finally {
      check?.close();
    }
  }

  /** A piece of a segment; post it again until it is finished. */
  step({ segment, bytes, isFirst }: ScrubStep): ScrubStepped {
    const { segId } = segment;
    try {
      if (this.#check?.segId !== segId) this.#begin(segment, isFirst);
      const check = this.#check;
      if (check === undefined) return { blocks: 0, isFinished: true, faults: [] };
      const isFinished = check.step(bytes);
      const blocks = check.slots - this.#slotsTold;
      this.#slotsTold = check.slots;
      if (!isFinished) return { blocks, isFinished, faults: [] };
      // One that was open when the check began may have gone on, and be sealed by now: it ends elsewhere, and has no row here.
      this.#before = this.#isOfSealed ? check.checked : undefined;
      if (this.#isOfSealed) this.#collect(check, 'scrub');
      this.close();
      return { blocks, isFinished, faults: check.faults };
    } catch (thrown) {
      const before = this.#check?.faults ?? [];
      this.close();
      this.#before = undefined;
      this.#expectedBy.scrub = undefined;
      const faults = [...before, { text: textOf(thrown), segId, bad: undefined }];
      return { blocks: 0, isFinished: true, faults };
    }
  }

  /**
   * The end of a pass: superblock and manifest. All that is published was applied to the manifest before this; of the
   * segments, those are read now that were not checked as sealed ones.
   */
  finish(
    { by, segments }: { readonly by: Looker; readonly segments: SegmentEnds },
    manifest: Manifest | undefined,
    runs: RunKeeping,
  ): { readonly faults: readonly ScrubFault[]; readonly isManifestChecked: boolean } {
    const texts = superblockFaults(this.#disk);
    const expected = this.#expectedBy[by];
    this.#expectedBy[by] = undefined;
    if (by === 'scrub') this.#before = undefined;
    else this.#verified = undefined;
    const isManifestChecked = manifest !== undefined && expected !== undefined;
    if (isManifestChecked) {
      try {
        this.#collectRest(segments, expected);
        const fresh = new Manifest(openSqlite(':memory:'), this.#settings.poolUuid);
        fresh.apply(expected.records, expected.rows);
        runs.list(fresh);
        if (fresh.contents() !== manifest.contents()) {
          texts.push("the manifest differs from the log ('pool rebuild' makes it again)");
        }
        fresh.close();
      } catch (thrown) {
        const isDamaged = thrown instanceof Database.SqliteError;
        texts.push(
          isDamaged
            ? `the manifest is damaged (${thrown.message}; 'pool rebuild' makes it again)`
            : `the manifest cannot be compared: ${textOf(thrown)}`,
        );
      }
    }
    const faults = texts.map((text) => ({ text, segId: 0, bad: undefined }));
    return { faults, isManifestChecked };
  }

  /** For what is read to its end before anything else is. */
  #windowAtOnce(): Uint8Array {
    this.#verifyWindow ??= new Uint8Array(this.#disk.memory(mediumWindowBytes));
    return this.#verifyWindow;
  }

  #begin(segment: Segment, isFirst: boolean): void {
    this.close();
    if (isFirst) {
      this.#expectedBy.scrub = { records: [], rows: [] };
      this.#before = undefined;
    }
    this.#window ??= new Uint8Array(this.#disk.memory(mediumWindowBytes));
    this.#check = this.#open(segment, this.#window, this.#before);
    this.#isOfSealed = segment.isSealed;
    this.#slotsTold = 0;
  }

  /** Where the segment lies now. Throws DiskError, FormatError. */
  #open(segment: Segment, window: Uint8Array, before: CheckedSegment | undefined): Check {
    const options = { ...this.#settings, window };
    const packed = this.#settings.containers.find(segment.segId);
    if (packed === undefined) return new SegmentCheck(options, segment, before);
    return new MemberCheck(options, packed, packPath(packed.packId), before);
  }

  #collect(check: Check, by: Looker): void {
    const { row } = check;
    const expected = this.#expectedBy[by];
    if (row === undefined || expected === undefined) return;
    for (const record of check.records()) expected.records.push(withoutText(record));
    expected.rows.push(row);
  }

  #collectRest(segments: SegmentEnds, expected: Expected): void {
    const seen = new Set(expected.rows.map(({ segId }) => segId));
    for (const segment of eachEnd(segments)) {
      if (!seen.has(segment.segId)) this.#collectNow(segment, expected);
    }
  }

  #collectNow(segment: Segment, expected: Expected): void {
    // One without frames has a row, too, once it is sealed.
    if (!segment.isSealed && segment.endAddress <= addressOf(segment.segId, 1)) return;
    // Never the scrubber's: a verification may end while that is inside a segment.
    const check = this.#open(segment, this.#windowAtOnce(), undefined);
    try {
      check.step(Number.POSITIVE_INFINITY);
      for (const record of check.records()) expected.records.push(withoutText(record));
      const { row } = check;
      if (segment.isSealed && row !== undefined) expected.rows.push(row);
    } finally {
      check.close();
    }
  }
}

/** What the disk or the format says of it; whatever else was thrown is thrown on. */
function textOf(thrown: unknown): string {
  if (thrown instanceof DiskError || thrown instanceof FormatError) return thrown.message;
  throw thrown;
}
