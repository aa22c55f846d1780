/**
 * Keeper: the store's background work without its thread. One job after the other, each synchronous:
 *
 *     prepare   make (or recycle) a segment file of zeros, so that commits never extend a file
 *     seal      derive the footer from the segment's frames, write it, flush it
 *     manifest  apply catalogue records and sealed segments to the manifest
 *     verify    read one segment whole, compare everything with its checksums and its footer
 *     scrub     the same a piece at a time, and in the end superblock and manifest
 *     rebuild   derive a footer again and replace it when it differs; make the manifest again from the log
 *     pack      copy what is kept of segments into a pack, a step at a time; remove what was in its place
 *     runs      make an index run, a step at a time; compare runs with the manifest; read one whole
 *     mark      find out which blocks can still be reached, a step at a time
 *
 * A job that fails on the disk answers with `error`; nothing the keeper does is needed for acknowledged data to be safe.
 */
import Database from 'better-sqlite3';
import { unreachable } from '../base/assert.ts';
import type { Disk, DiskFile } from '../base/ports.ts';
import { CheckpointAudit } from './catalogue/checkpoint.ts';
import { addressOf, slotSizeBytes } from './format/address.ts';
import { Seeds } from './format/checksum.ts';
import { encodeFooter, type FooterContents } from './format/footer.ts';
import { FormatError } from './format/format-error.ts';
import { type SegmentRow, segmentRowOf } from './format/segment-rows.ts';
import type { BuiltRun, RunPlan } from './index/run-builder.ts';
import { RunKeeping } from './index/run-keeping.ts';
import type { CrcPlace } from './io/block-reader.ts';
import { isFooterRight, keeperError, requireFooter } from './keeper-checks.ts';
import {
  isLook,
  type KeeperError,
  type KeeperJob,
  type KeeperResult,
  type LookJob,
  type RecoveredLog,
  type SegmentEnd,
  type SegmentEnds,
} from './keeper-jobs.ts';
import { MarkKeeping } from './liveness/mark-keeping.ts';
import type { MarkPlan } from './liveness/mark-plan.ts';
import { segmentFolder, segmentPath } from './log/segment-path.ts';
import { type OpenDatabase, removeManifest } from './manifest-database.ts';
import { Containers } from './pack/containers.ts';
import { PackKeeping } from './pack/pack-keeping.ts';
import { packPath } from './pack/pack-path.ts';
import type { MadePack, PackPlan } from './pack/pack-plan.ts';
import {
  isOfHistory,
  type Manifest,
  type ManifestRecord,
  openManifest,
} from './recovery/manifest.ts';
import { recordOf } from './recovery/replay.ts';
import { eachEnd } from './recovery/segment-ends.ts';
import { crcPlaceOf, eachFooterEntry, SegmentSource } from './recovery/segment-source.ts';
import { ScrubKeeping } from './scrub/scrub-keeping.ts';

export interface KeeperSettings {
  readonly poolUuid: Uint8Array;
  readonly segmentSlots: number;
  readonly manifestPath: string;
}

const zeroPieceBytes = 2 ** 20;
/** Between two pieces: 7 segments a second at most. */
const zeroPauseMs = 3;

export class Keeper {
  readonly #settings: KeeperSettings;
  readonly #disk: Disk;
  readonly #seeds: Seeds;
  readonly #pause: (ms: number) => void;
  readonly #openDatabase: OpenDatabase;
  readonly #containers: Containers;
  readonly #runs: RunKeeping;
  readonly #scrub: ScrubKeeping;
  readonly #packs: PackKeeping;
  readonly #mark: MarkKeeping;
  #manifest: Manifest | undefined;
  /** Something could not be applied to it: it stays as it was until it is made again, or the pool is opened again. */
  #isManifestBehind = false;
  #zeros: Uint8Array | undefined;

  /** `pause` holds the keeper (and nothing else) for so many milliseconds. */
  constructor(
    settings: KeeperSettings,
    disk: Disk,
    helpers: { readonly pause: (ms: number) => void; readonly openDatabase: OpenDatabase },
  ) {
    const { pause, openDatabase } = helpers;
    this.#settings = settings;
    this.#openDatabase = openDatabase;
    this.#pause = pause;
    this.#disk = disk;
    this.#seeds = new Seeds(settings.poolUuid);
    this.#containers = new Containers(disk, settings.segmentSlots, this.#seeds);
    const options = { ...settings, disk, containers: this.#containers, seeds: this.#seeds };
    this.#runs = new RunKeeping(options);
    this.#scrub = new ScrubKeeping(options);
    this.#packs = new PackKeeping(options);
    this.#mark = new MarkKeeping(options);
  }

  /** Does one job. Throws only what is a programming error. */
  run(job: KeeperJob): KeeperResult {
    this.#packs.find();
    if (isLook(job)) return this.#look(job);
    switch (job.kind) {
      case 'prepare':
        return { kind: 'prepare', segId: job.segId, ...this.#attempt(() => this.#prepare(job)) };
      case 'seal':
        return this.#seal(job);
      case 'open-manifest':
        return this.#openManifest(job);
      case 'manifest':
        return this.#applyToManifest(job.records, job.segments);
      case 'rebuild-footer':
        return this.#rebuildFooter(job);
      case 'build-run':
        return this.#buildRun(job.plan);
      case 'open-runs':
        return { kind: 'open-runs', ...this.#attempt(() => this.#runs.open(this.#manifest)) };
      case 'measure-runs':
        return { kind: 'measure-runs', ...this.#runs.measure(job.places) };
      case 'remove-runs':
        return {
          kind: 'remove-runs',
          ...this.#attempt(() => this.#runs.remove(job.places, this.#manifest)),
        };
      case 'pack':
      case 'verify-pack':
      case 'remove-files':
        return this.#packed(job);
      case 'rebuild-manifest':
        return this.#rebuildManifest(job.segments);
      default:
        return unreachable(job);
    }
  }

  #look(job: LookJob): KeeperResult {
    switch (job.kind) {
      case 'mark':
        return this.#markStep(job.plan);
      case 'verify-run':
        return { kind: 'verify-run', ...this.#attempt(() => this.#runs.verify(job)) };
      case 'verify':
        return { kind: 'verify', segId: job.segId, ...this.#scrub.verify(job) };
      case 'scrub':
        return { kind: 'scrub', segId: job.segment.segId, ...this.#scrub.step(job) };
      case 'scrub-end':
        return {
          kind: 'scrub-end',
          ...this.#scrub.finish(job, this.#manifest, this.#runs),
        };
      case 'scrub-note':
        return { kind: 'scrub-note', ...this.#scrubNote(job.save) };
      default:
        return unreachable(job);
    }
  }

  #markStep(plan: MarkPlan | undefined): KeeperResult {
    const stepped = this.#mark.step(plan);
    // A row that cannot be entered now is when the pool is opened again.
    this.#attempt(() => {
      for (const run of stepped.thinned ?? []) this.#manifest?.addRun(run);
    });
    return { kind: 'mark', ...stepped };
  }

  close(): void {
    this.#runs.close();
    this.#scrub.close();
    this.#packs.close();
    this.#mark.close();
    this.#manifest?.close();
    this.#manifest = undefined;
  }

  /** Runs `action`; a disk or format error becomes an `error` field. */
  #attempt(action: () => void): { error?: KeeperError } {
    try {
      action();
      return {};
    } catch (thrown) {
      return { error: keeperError(thrown) };
    }
  }

  #prepare(job: { segId: number; recycledPath: string | undefined }): void {
    const path = segmentPath(job.segId);
    if (job.recycledPath !== undefined) {
      this.#scrub.leave(job.recycledPath);
      this.#disk.rename(job.recycledPath, path);
    }
    const sizeBytes = this.#settings.segmentSlots * slotSizeBytes;
    const file = this.#disk.open(path, { create: true, isDirect: true });
    try {
      // A recycled file of full size has its blocks already; old content can never verify at new addresses.
      if (file.size() < sizeBytes) this.#writeZeros(file, sizeBytes);
      else file.flush();
    } catch (thrown) {
      file.close();
      this.#disk.remove(path);
      throw thrown;
    }
    file.close();
    this.#disk.flushFolder(segmentFolder);
  }

  /** Flushed in small pieces with pauses: one flush of a whole segment would hold up the commits beside it. */
  #writeZeros(file: DiskFile, sizeBytes: number): void {
    this.#zeros ??= new Uint8Array(this.#disk.memory(zeroPieceBytes));
    const zeros = this.#zeros.subarray(0, Math.min(zeroPieceBytes, sizeBytes));
    for (let at = 0; at < sizeBytes; at += zeros.length) {
      if (at > 0) this.#pause(zeroPauseMs);
      file.write([zeros.subarray(0, Math.min(zeros.length, sizeBytes - at))], at);
      file.flush();
    }
  }

  #source(segId: number): SegmentSource {
    return new SegmentSource(this.#containers, segId, this.#settings.segmentSlots, this.#seeds);
  }

  /** What the footer of the segment must say. Throws FormatError when the frames cannot be read in full. */
  #derive(
    source: SegmentSource,
    endAddress: number,
  ): FooterContents & { faults: readonly string[] } {
    const scan = source.scan({
      verifiesData: false,
      endLimit: endAddress,
      durableLimit: endAddress,
    });
    if (scan === undefined) throw new FormatError(`segment ${source.segId}: header unreadable`);
    return scan;
  }

  #seal({ segId, endAddress }: SegmentEnd): KeeperResult {
    let sealed: { segment: SegmentRow; crcPlace: CrcPlace } | undefined;
    const outcome = this.#attempt(() => {
      const source = this.#source(segId);
      try {
        const contents = this.#derive(source, endAddress);
        const isWhole =
          contents.faults.length === 0 && contents.endSlot === endAddress - addressOf(segId, 0);
        if (!isWhole) throw new FormatError(`segment ${segId}: ${contents.faults.join('; ')}`);
        this.#writeFooter(contents);
        const footer = source.footer(contents.epoch);
        if (footer === undefined) throw new FormatError(`segment ${segId}: footer did not stick`);
        const loaded = source.header();
        if (loaded === undefined) throw new FormatError(`segment ${segId}: header unreadable`);
        sealed = {
          segment: segmentRowOf(loaded.header, {
            ...contents,
            entryCount: contents.entries.length,
          }),
          crcPlace: crcPlaceOf(footer.header, this.#settings.segmentSlots),
        };
      } finally {
        source.close();
      }
    });
    return sealed === undefined
      ? { kind: 'seal', segId, ...outcome }
      : { kind: 'seal', segId, sealed, ...outcome };
  }

  #writeFooter(contents: FooterContents): void {
    const bytes = encodeFooter(contents, this.#settings.poolUuid, this.#seeds);
    const file = this.#disk.open(segmentPath(contents.segId), { create: false });
    try {
      file.write([bytes], this.#settings.segmentSlots * slotSizeBytes);
      file.flush();
    } finally {
      file.close();
    }
  }

  /** Without a manifest (no space for one) everything works but looking things up in it. */
  #openManifest(log: RecoveredLog): KeeperResult {
    try {
      this.#manifest ??= this.#openOrMakeManifest();
      return this.#openedManifest(this.#manifest, log);
    } catch (thrown) {
      this.#manifest = undefined;
      return {
        kind: 'open-manifest',
        wasDiscarded: false,
        error: { code: 'manifest', message: String(thrown) },
      };
    }
  }

  /** Brings it to the recovered state. */
  #openedManifest(manifest: Manifest, log: RecoveredLog): KeeperResult {
    const { endPosition, isWhole, rowsFrom, knownPosition, records, segments, epochs } = log;
    const applied = manifest.appliedPosition;
    const isForeign =
      applied > endPosition ||
      applied < knownPosition ||
      manifest.isPartial ||
      !isOfHistory(manifest.epochs(), epochs);
    const fill = (isAnew: boolean): void => {
      if (isAnew) manifest.reset(this.#settings.poolUuid, !isWhole);
      manifest.cutSegments(rowsFrom);
      manifest.apply(records, segments);
    };
    try {
      fill(isForeign);
      return { kind: 'open-manifest', wasDiscarded: isForeign };
    } catch (thrown) {
      if (isForeign || !(thrown instanceof Database.SqliteError)) throw thrown;
      // It holds what contradicts the log.
      fill(true);
      return { kind: 'open-manifest', wasDiscarded: true };
    }
  }

  #applyToManifest(
    records: readonly ManifestRecord[],
    segments: readonly SegmentRow[],
  ): KeeperResult {
    try {
      // Without these records, those that come later would hide that they are missing.
      if (!this.#isManifestBehind) this.#manifest?.apply(records, segments);
      return { kind: 'manifest' };
    } catch (thrown) {
      this.#isManifestBehind = true;
      // Whatever SQLite says: the manifest can be made again. The pool reports it and goes on.
      return { kind: 'manifest', error: { code: 'manifest', message: String(thrown) } };
    }
  }

  #scrubNote(save: string | undefined): { text: string | undefined } {
    try {
      if (save !== undefined) this.#manifest?.keepScrubNote(save);
      return { text: this.#manifest?.scrubNote };
    } catch {
      // Whatever SQLite says: the scrubber begins a new pass then.
      return { text: undefined };
    }
  }

  #rebuildFooter({ segId, endAddress }: SegmentEnd): KeeperResult {
    let wasEqual = false;
    let entryCount = 0;
    const outcome = this.#attempt(() => {
      const source = this.#source(segId);
      try {
        if (source.packed !== undefined) {
          entryCount = requireFooter(source, source.packed);
          wasEqual = true;
          return;
        }
        const contents = this.#derive(source, endAddress);
        if (contents.faults.length > 0) throw new FormatError(contents.faults.join('; '));
        entryCount = contents.entries.length;
        wasEqual = isFooterRight(source, contents, this.#settings.poolUuid, this.#seeds);
        if (!wasEqual) this.#writeFooter(contents);
      } finally {
        source.close();
      }
    });
    return { kind: 'rebuild-footer', segId, wasEqual, entryCount, ...outcome };
  }

  #packed(
    job: Extract<KeeperJob, { kind: 'pack' | 'verify-pack' | 'remove-files' }>,
  ): KeeperResult {
    if (job.kind === 'pack') return this.#pack(job.plan);
    const { kind } = job;
    const outcome = this.#attempt(() => {
      if (job.kind === 'verify-pack') this.#packs.verify(job.packId);
      else this.#remove(job);
    });
    return { kind, ...outcome };
  }

  #pack(plan: PackPlan | undefined): KeeperResult {
    let made: MadePack | undefined;
    const outcome = this.#attempt(() => {
      made = this.#packs.step(plan);
    });
    return made === undefined ? { kind: 'pack', ...outcome } : { kind: 'pack', made, ...outcome };
  }

  #remove({ segIds, unusedSegIds, packIds }: Extract<KeeperJob, { kind: 'remove-files' }>): void {
    for (const segId of unusedSegIds) this.#disk.remove(segmentPath(segId));
    for (const segId of segIds) this.#scrub.leave(segmentPath(segId));
    for (const packId of packIds) this.#scrub.leave(packPath(packId));
    this.#packs.remove(segIds, packIds);
  }

  #buildRun(plan: RunPlan): KeeperResult {
    let built: BuiltRun | undefined;
    const outcome = this.#attempt(() => {
      built = this.#runs.step(plan, this.#manifest);
    });
    if (built !== undefined) return { kind: 'build-run', isUnfinished: false, built, ...outcome };
    return { kind: 'build-run', isUnfinished: outcome.error === undefined, ...outcome };
  }

  #rebuildManifest(segments: SegmentEnds): KeeperResult {
    let wasEqual = false;
    let contents = '';
    const records: ManifestRecord[] = [];
    const outcome = this.#attempt(() => {
      const rows: SegmentRow[] = [];
      const audit = new CheckpointAudit();
      for (const segment of eachEnd(segments)) {
        this.#collect(segment, rows, (placed) => {
          records.push(audit.add(placed));
        });
      }
      const before = this.#contentsOfManifest();
      contents = this.#remakeManifest(records, rows);
      wasEqual = before === contents;
    });
    const recordCount = records.length;
    return { kind: 'rebuild-manifest', wasEqual, recordCount, contents, ...outcome };
  }

  /** Undefined when there is none, or a damaged one. */
  #contentsOfManifest(): string | undefined {
    try {
      return this.#manifest?.contents();
    } catch (thrown) {
      if (thrown instanceof Database.SqliteError) return undefined;
      throw thrown;
    }
  }

  /** With these contents, which it returns as text. Throws SqliteError. */
  #remakeManifest(records: readonly ManifestRecord[], rows: readonly SegmentRow[]): string {
    const fill = (manifest: Manifest): string => {
      manifest.reset(this.#settings.poolUuid);
      manifest.apply(records, rows);
      this.#runs.list(manifest);
      return manifest.contents();
    };
    let contents: string;
    try {
      this.#manifest ??= this.#openOrMakeManifest();
      contents = fill(this.#manifest);
    } catch (thrown) {
      if (!(thrown instanceof Database.SqliteError)) throw thrown;
      // Damaged beyond emptying: a new file.
      this.#manifest?.close();
      this.#manifest = undefined;
      removeManifest(this.#disk);
      this.#manifest = this.#openOrMakeManifest();
      contents = fill(this.#manifest);
    }
    this.#isManifestBehind = false;
    return contents;
  }

  #openOrMakeManifest(): Manifest {
    const { manifestPath, poolUuid } = this.#settings;
    return openManifest(manifestPath, poolUuid, {
      open: this.#openDatabase,
      removeFiles: () => removeManifest(this.#disk),
    });
  }

  /** Catalogue records of one segment, and its row when it is sealed. */
  #collect(
    segment: SegmentEnd & { readonly isSealed: boolean },
    rows: SegmentRow[],
    found: (record: ManifestRecord) => void,
  ): void {
    const source = this.#source(segment.segId);
    try {
      const header = source.header()?.header;
      const footer = segment.isSealed ? source.footer(header?.epoch ?? 0) : undefined;
      const contents = footer === undefined ? this.#derive(source, segment.endAddress) : undefined;
      const visit = (entry: Parameters<typeof recordOf>[0]): void => {
        const record = recordOf(entry, (position) => source.payload(position));
        if (record !== undefined) found({ record, position: entry.position });
      };
      if (footer !== undefined && header !== undefined) {
        eachFooterEntry(footer, visit);
        rows.push(segmentRowOf(header, footer.header));
      } else {
        contents?.entries.forEach(visit);
      }
    } finally {
      source.close();
    }
  }
}
