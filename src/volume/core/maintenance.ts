/**
 * Maintenance: what the main thread asks of the keeper, and what it does with the answers: segments prepared and sealed,
 * the manifest kept up with the log, verify and rebuild on demand.
 */
import { ErrorCode, failure, OperationError, type Outcome, success } from '../../base/errors.ts';
import { withoutText } from '../catalogue/checkpoint.ts';
import type { CatalogueRecord } from '../catalogue/records.ts';
import type { SegmentRow } from '../format/segment-rows.ts';
import type { RunPlace } from '../index/run-format.ts';
import type { KeeperJob, KeeperResult, RecoveredLog, SegmentEnd } from '../keeper-jobs.ts';
import type { ManifestRecord } from '../recovery/manifest.ts';
import { endAt } from '../recovery/segment-ends.ts';
import type { Progress, RebuildReport, VerifyReport } from '../reports.ts';
import type { PoolParts } from './parts.ts';
import { durableEnds } from './segment-end.ts';

/** Records wait this long for others before the manifest is brought up to date. */
const manifestDelayMs = 200;
const faultsListedMax = 100;

type ResultOf<K extends KeeperResult['kind']> = Extract<KeeperResult, { kind: K }>;

/** What verify and rebuild need of the index runs. */
export interface RunChecks {
  all(): readonly RunPlace[];
  /** Whether it is one of them still. */
  isKnown(place: RunPlace): boolean;
  /** `progress` runs for each; `done` gets whether all were right, or why it stopped. */
  rebuild(
    progress: () => void,
    done: (outcome: { readonly wasEqual: boolean; readonly error?: string }) => void,
  ): void;
}

interface Waiting {
  readonly kind: KeeperResult['kind'];
  /** Seals are also posted without anyone waiting: the segment tells whose answer it is. */
  readonly segId: number | undefined;
  readonly done: (result: KeeperResult) => void;
}

export class Maintenance {
  readonly #parts: PoolParts;
  #records: ManifestRecord[] = [];
  #segments: SegmentRow[] = [];
  #isManifestScheduled = false;
  #onSealed: () => void = () => undefined;
  #onPublished: (record: CatalogueRecord) => void = () => undefined;
  /** Whether it is known what the manifest lacks: a record that was sent before those would hide them, being newer. */
  #isManifestOpen = false;
  /** Jobs that somebody waits for: answered in the order they were posted. */
  readonly #waiting: Waiting[] = [];

  constructor(parts: PoolParts) {
    this.#parts = parts;
  }

  /** `action` runs whenever a segment was sealed. */
  whenSealed(action: () => void): void {
    this.#onSealed = action;
  }

  /** `action` runs whenever a catalogue record was published. */
  whenPublished(action: (record: CatalogueRecord) => void): void {
    this.#onPublished = action;
  }

  /** A catalogue record was published. */
  recordPublished(record: ManifestRecord): void {
    this.#onPublished(record.record);
    this.#records.push(withoutText(record));
    this.#scheduleManifest();
  }

  /** The log has left the segment and everything in it is durable. */
  segmentFinished(segId: number, endAddress: number): void {
    this.#parts.segmentById.ended(segId, endAddress);
    this.#parts.keeper.post({ kind: 'seal', segId, endAddress });
  }

  /** Brings the manifest to the recovered state: discards one that is not of this log, applies what it lacks. */
  openManifest(log: RecoveredLog): void {
    this.ask<'open-manifest'>({ kind: 'open-manifest', ...log }, (result) => {
      this.#isManifestOpen = true;
      if (result.error !== undefined) {
        this.#parts.host.log.warn('the manifest cannot be opened; the pool works without it', {
          error: result.error.message,
        });
        return;
      }
      if (result.wasDiscarded) {
        this.#parts.host.log.warn('the manifest did not belong to the log and was begun anew');
      }
      this.#scheduleManifest();
    });
  }

  /** Makes manifest and folder agree about index runs; `done` also when they could not. */
  openRuns(done: () => void): void {
    this.flushManifest();
    this.ask<'open-runs'>({ kind: 'open-runs' }, ({ error }) => {
      done();
      if (error !== undefined) {
        this.#parts.host.log.warn('index runs were not compared with the manifest', {
          error: error.message,
        });
      }
    });
  }

  /** Every answer of the keeper comes here. */
  onKeeperResult(result: KeeperResult): void {
    if (result.kind === 'prepare') this.#prepared(result);
    else if (result.kind === 'seal') this.#sealed(result);
    else if (result.kind === 'manifest' && result.error !== undefined) {
      this.#parts.host.log.warn("manifest not updated; 'tidemark pool rebuild' makes it again", {
        error: result.error.message,
      });
    }
    const index = this.#waiting.findIndex(
      (waiting) =>
        waiting.kind === result.kind &&
        (!('segId' in result) || waiting.segId === undefined || waiting.segId === result.segId),
    );
    if (index < 0) return;
    const [waiting] = this.#waiting.splice(index, 1);
    waiting?.done(result);
  }

  /** Seals a segment and calls `done` when the keeper is through with it. */
  seal(end: SegmentEnd, done: () => void): void {
    this.ask<'seal'>({ kind: 'seal', ...end }, () => {
      done();
    });
  }

  /** Sends what the manifest lacks now. The keeper works in order, so a job posted afterwards finds it applied. */
  flushManifest(): void {
    if (!this.#isManifestOpen) return;
    if (this.#records.length === 0 && this.#segments.length === 0) return;
    this.#parts.keeper.post({
      kind: 'manifest',
      records: this.#records,
      segments: this.#segments,
    });
    this.#records = [];
    this.#segments = [];
  }

  /** Reads everything and compares it with its checksums, segment by segment. The last step of progress is the caller's. */
  verify(upkeep: RunChecks, progress: Progress, done: (report: VerifyReport) => void): void {
    const rest = this.#checks(upkeep);
    const segments = durableEnds(this.#parts);
    const segmentCount = segments.segIds.length;
    const faults: string[] = [];
    const report = {
      segmentsChecked: segmentCount,
      blocksChecked: 0,
      packsChecked: [...this.#parts.containers.packs()].length,
      runsChecked: upkeep.all().length,
      faults,
      faultCount: 0,
      isManifestChecked: false,
      isLivenessAudited: false,
    };
    const found = (texts: readonly string[]): void => {
      report.faultCount += texts.length;
      faults.push(...texts.slice(0, faultsListedMax - faults.length));
    };
    const next = (index: number): void => {
      progress(index, segmentCount + rest.length + 2);
      const segment = endAt(segments, index);
      const check = rest[index - segmentCount];
      if (segment !== undefined) {
        this.ask<'verify'>({ kind: 'verify', isFirst: index === 0, ...segment }, (result) => {
          report.blocksChecked += result.blocks;
          found(result.faults);
          next(index + 1);
        });
        return;
      }
      if (check === undefined) {
        this.#verifyEnd((result) => {
          found(result.faults.map(({ text }) => text));
          // Of segments that cannot be read it is known already that the comparison fails.
          const isMissing = !result.isManifestChecked && this.#parts.writer !== undefined;
          if (isMissing && report.faultCount === 0) {
            found(["there is no manifest that can be read ('pool rebuild' makes it again)"]);
          }
          progress(index + 1, index + 2);
          done({ ...report, isManifestChecked: result.isManifestChecked });
        });
        return;
      }
      check((fault) => {
        if (fault !== undefined) found([fault]);
        next(index + 1);
      });
    };
    next(0);
  }

  /** Superblock, and the manifest against what the segments say. */
  #verifyEnd(done: (result: ResultOf<'scrub-end'>) => void): void {
    // Everything that is published is applied before the comparison: the keeper works in order.
    this.flushManifest();
    this.ask<'scrub-end'>(
      { kind: 'scrub-end', by: 'verify', segments: durableEnds(this.#parts) },
      done,
    );
  }

  /** What there is beside segments. */
  #checks(upkeep: RunChecks): ((done: (fault: string | undefined) => void) => void)[] {
    const { containers } = this.#parts;
    const runs = upkeep.all().map((place) => (done: (fault: string | undefined) => void) => {
      this.#verifyRun(place, (fault) => {
        // One that was thinned or merged meanwhile is gone, and nothing is wrong with that.
        done(upkeep.isKnown(place) ? fault : undefined);
      });
    });
    const packs = [...containers.packs()].map(
      ({ packId }) =>
        (done: (fault: string | undefined) => void) => {
          this.verifyPack(packId, done);
        },
    );
    const isWhole = this.#parts.writer !== undefined;
    const damaged = containers.damaged.map(
      ({ text, isUnread }) =>
        (done: (fault: string | undefined) => void) => {
          const hint = isUnread ? '' : ": 'pool clean' removes it";
          done(isWhole ? `${text}; nothing needs it${hint}` : text);
        },
    );
    return [...runs, ...packs, ...damaged];
  }

  /** What a pack says of itself; one that was replaced meanwhile is not looked at. */
  verifyPack(packId: number, done: (fault: string | undefined) => void): void {
    this.ask<'verify-pack'>({ kind: 'verify-pack', packId }, ({ error }) => {
      done(this.#parts.containers.has(packId) ? error?.message : undefined);
    });
  }

  #verifyRun(place: RunPlace, done: (fault: string | undefined) => void): void {
    const job = { kind: 'verify-run', place, isOnMedium: false } as const;
    this.ask<'verify-run'>(job, ({ error }) => {
      done(error && `${error.message} ('pool rebuild' makes it again)`);
    });
  }

  /** Makes the footer of a segment again when its frames say something else; `done` gets whether it did. */
  mendFooter(segId: number, done: (isMended: boolean) => void): void {
    const { segmentById, writer } = this.#parts;
    const segment = segmentById.get(segId);
    // A read-only pool is evidence. What is in a pack has no frames to compare with.
    const mayBe = segment?.isSealed === true && segment.container === 0 && writer !== undefined;
    if (!mayBe) {
      done(false);
      return;
    }
    const { endAddress } = segment;
    this.ask<'rebuild-footer'>({ kind: 'rebuild-footer', segId, endAddress }, (result) => {
      done(result.error === undefined && !result.wasEqual);
    });
  }

  /** Derives all footers, the index runs and the manifest from the frames again, replacing what differs. */
  rebuild(
    upkeep: RunChecks,
    progress: Progress,
    done: (outcome: Outcome<RebuildReport>) => void,
  ): void {
    this.flushManifest();
    const segments = durableEnds(this.#parts);
    let entryCount = 0;
    let areFootersEqual = true;
    const total = segments.segIds.length + upkeep.all().length + 1;
    let runsDone = 0;
    const next = (index: number): void => {
      progress(index, total);
      const segment = endAt(segments, index);
      if (segment === undefined) {
        const step = (): void => {
          progress(Math.min(total, index + runsDone), total);
          runsDone += 1;
        };
        upkeep.rebuild(step, ({ wasEqual, error }) => {
          if (error !== undefined) done(failure(rebuildFailed(error)));
          else this.#rebuildManifest(entryCount, areFootersEqual && wasEqual, done);
        });
        return;
      }
      if (!segment.isSealed) {
        next(index + 1);
        return;
      }
      this.ask<'rebuild-footer'>({ kind: 'rebuild-footer', ...segment }, (result) => {
        if (result.error !== undefined) {
          done(failure(rebuildFailed(result.error.message)));
          return;
        }
        entryCount += result.entryCount;
        areFootersEqual &&= result.wasEqual;
        next(index + 1);
      });
    };
    next(0);
  }

  #rebuildManifest(
    entryCount: number,
    isRestEqual: boolean,
    done: (outcome: Outcome<RebuildReport>) => void,
  ): void {
    // The log went on while footers were made again: the manifest is made from all that is durable now, and records
    // published later come behind it.
    this.flushManifest();
    const segments = durableEnds(this.#parts);
    this.ask<'rebuild-manifest'>({ kind: 'rebuild-manifest', segments }, (result) => {
      if (result.error !== undefined) {
        done(failure(rebuildFailed(result.error.message)));
        return;
      }
      done(
        success({
          recordsRead: result.recordCount,
          entryCount,
          wasEqual: result.wasEqual && isRestEqual,
        }),
      );
    });
  }

  /** Has the keeper do a job; `done` gets its answer. */
  ask<K extends KeeperResult['kind']>(
    job: Extract<KeeperJob, { kind: K }>,
    done: (result: ResultOf<K>) => void,
  ): void {
    this.#waiting.push({
      kind: job.kind,
      segId: 'segId' in job ? job.segId : undefined,
      // The keeper answers a job with a result of the same kind.
      done: (result) => {
        done(result as ResultOf<K>);
      },
    });
    this.#parts.keeper.post(job);
  }

  #scheduleManifest(): void {
    if (this.#isManifestScheduled) return;
    this.#isManifestScheduled = true;
    this.#parts.host.timers.after(manifestDelayMs, () => {
      this.#isManifestScheduled = false;
      this.flushManifest();
    });
  }

  #prepared(result: ResultOf<'prepare'>): void {
    const { writer, host } = this.#parts;
    if (result.error === undefined) {
      writer?.supply.prepared(result.segId);
      return;
    }
    host.log.warn('no segment could be prepared ahead', { error: result.error.message });
    writer?.supply.failed();
  }

  #sealed(result: ResultOf<'seal'>): void {
    const { segmentById, crcTables, host, reader } = this.#parts;
    if (result.sealed === undefined) {
      // The frames stay what they are; the segment is read without its footer until it is sealed at the next open.
      host.log.error('segment not sealed', {
        segId: result.segId,
        error: result.error?.message,
      });
      return;
    }
    segmentById.sealed(result.sealed.segment);
    crcTables.sealed(result.segId);
    reader.wasRead(result.segId, result.sealed.segment.endSlot);
    this.#segments.push(result.sealed.segment);
    this.#scheduleManifest();
    this.#onSealed();
  }
}

function rebuildFailed(message: string): OperationError {
  return new OperationError(
    ErrorCode.internal,
    `rebuild stopped: ${message}`,
    'Run "tidemark pool verify" to see what is damaged.',
  );
}
