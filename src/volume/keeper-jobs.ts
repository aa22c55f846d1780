/** What the main thread asks of the keeper, and what it answers: plain data, sent between threads. */
import type { SegmentRow } from './format/segment-rows.ts';
import type { BuiltRun, RunPlan } from './index/run-builder.ts';
import type { RunPlace } from './index/run-format.ts';
import type { CrcPlace } from './io/block-reader.ts';
import type { MarkPlan, MarkStepped } from './liveness/mark-plan.ts';
import type { MadePack, PackPlan } from './pack/pack-plan.ts';
import type { ManifestEpoch, ManifestRecord } from './recovery/manifest.ts';
import type { ScrubFault } from './reports.ts';
import type { Looker, ScrubStep, ScrubStepped } from './scrub/scrub-keeping.ts';

/** Where the log is in a segment: what lies behind is void. */
export interface SegmentEnd {
  readonly segId: number;
  readonly endAddress: number;
}

/** The end of what is durable in each segment, in log order: lists, for there may be hundreds of thousands. */
export interface SegmentEnds {
  readonly segIds: Float64Array;
  readonly endAddresses: Float64Array;
  /** 1 = it has a footer. */
  readonly sealed: Uint8Array;
}

/** What recovery found, for the manifest. */
export interface RecoveredLog {
  readonly endPosition: number;
  /** The log was read from its first segment on; else what came before `rowsFrom` was believed. */
  readonly isWhole: boolean;
  /** What is known of this segment and all behind it is in `segments`. */
  readonly rowsFrom: number;
  /** Position of the newest record in the manifest that was believed; 0 = none was. */
  readonly knownPosition: number;
  /** Every catalogue record of the segments that were read. */
  readonly records: readonly ManifestRecord[];
  readonly segments: readonly SegmentRow[];
  readonly epochs: readonly ManifestEpoch[];
}

export type KeeperJob =
  | { readonly kind: 'prepare'; readonly segId: number; readonly recycledPath: string | undefined }
  | ({ readonly kind: 'seal' } & SegmentEnd)
  | ({ readonly kind: 'open-manifest' } & RecoveredLog)
  | {
      readonly kind: 'manifest';
      readonly records: readonly ManifestRecord[];
      readonly segments: readonly SegmentRow[];
    }
  | ({
      readonly kind: 'verify';
      readonly isSealed: boolean;
      /** The first of the log. */
      readonly isFirst: boolean;
    } & SegmentEnd)
  | ({ readonly kind: 'scrub'; readonly segId: number } & ScrubStep)
  | {
      readonly kind: 'scrub-end';
      /** Who has looked at all segments. */
      readonly by: Looker;
      readonly segments: SegmentEnds;
    }
  /** What the scrubber wants to find again at the next open; without `save` it only asks for it. */
  | { readonly kind: 'scrub-note'; readonly save: string | undefined }
  | ({ readonly kind: 'rebuild-footer' } & SegmentEnd)
  | { readonly kind: 'open-runs' }
  /** How large the files of some runs are. */
  | { readonly kind: 'measure-runs'; readonly places: readonly RunPlace[] }
  | { readonly kind: 'build-run'; readonly plan: RunPlan }
  | {
      readonly kind: 'verify-run';
      readonly place: RunPlace;
      /** From the medium itself, because something is removed as it is there. */
      readonly isOnMedium: boolean;
    }
  /** Runs that nobody reads any more. */
  | { readonly kind: 'remove-runs'; readonly places: readonly RunPlace[] }
  /** One step of the liveness mark; without a plan it goes on with the pass that is under way. */
  | { readonly kind: 'mark'; readonly plan: MarkPlan | undefined }
  /** One step towards a pack; without a plan it goes on with the one that is being made. */
  | { readonly kind: 'pack'; readonly plan: PackPlan | undefined }
  | { readonly kind: 'verify-pack'; readonly packId: number }
  /** Files in which no segment lies any more, and that nobody else reads. */
  | {
      readonly kind: 'remove-files';
      /** Of segments that lie in packs. */
      readonly segIds: readonly number[];
      /** Of segments that were made ahead, and are not used. */
      readonly unusedSegIds: readonly number[];
      readonly packIds: readonly number[];
    }
  | {
      readonly kind: 'rebuild-manifest';
      /** The last may be unsealed. */
      readonly segments: SegmentEnds;
    };

export type KeeperResult =
  | { readonly kind: 'prepare'; readonly segId: number; readonly error?: KeeperError }
  | {
      readonly kind: 'seal';
      readonly segId: number;
      readonly sealed?: { readonly segment: SegmentRow; readonly crcPlace: CrcPlace };
      readonly error?: KeeperError;
    }
  | {
      readonly kind: 'open-manifest';
      /** It was ahead of the log, of another history, or not whole: it was begun anew. */
      readonly wasDiscarded: boolean;
      readonly error?: KeeperError;
    }
  | { readonly kind: 'manifest'; readonly error?: KeeperError }
  | {
      readonly kind: 'verify';
      readonly segId: number;
      readonly blocks: number;
      readonly faults: readonly string[];
    }
  | ({ readonly kind: 'scrub'; readonly segId: number } & ScrubStepped)
  | {
      readonly kind: 'scrub-end';
      readonly faults: readonly ScrubFault[];
      readonly isManifestChecked: boolean;
    }
  | { readonly kind: 'scrub-note'; readonly text: string | undefined }
  | {
      readonly kind: 'rebuild-footer';
      readonly segId: number;
      readonly wasEqual: boolean;
      readonly entryCount: number;
      readonly error?: KeeperError;
    }
  | { readonly kind: 'open-runs'; readonly error?: KeeperError }
  | {
      readonly kind: 'measure-runs';
      /** Of the places, in their order; incomplete with an error. */
      readonly bytes: readonly number[];
      readonly error?: KeeperError;
    }
  | {
      readonly kind: 'build-run';
      /** Post it again: it goes on where it is. */
      readonly isUnfinished: boolean;
      readonly built?: BuiltRun;
      readonly error?: KeeperError;
    }
  | { readonly kind: 'verify-run'; readonly error?: KeeperError }
  | { readonly kind: 'remove-runs'; readonly error?: KeeperError }
  | ({ readonly kind: 'mark' } & MarkStepped)
  | {
      readonly kind: 'pack';
      /** Undefined = not done yet, or an error. */
      readonly made?: MadePack;
      readonly error?: KeeperError;
    }
  | { readonly kind: 'verify-pack'; readonly error?: KeeperError }
  | { readonly kind: 'remove-files'; readonly error?: KeeperError }
  | {
      readonly kind: 'rebuild-manifest';
      readonly wasEqual: boolean;
      readonly recordCount: number;
      readonly contents: string;
      readonly error?: KeeperError;
    };

export interface KeeperError {
  /** POSIX name, or "format" for bytes that are not what they should be. */
  readonly code: string;
  readonly message: string;
}

const lookKinds = ['mark', 'verify', 'verify-run', 'scrub', 'scrub-end', 'scrub-note'] as const;

/** Jobs that only read, but for the scrubber's note, and runs that a mark thins. */
export type LookJob = Extract<KeeperJob, { readonly kind: (typeof lookKinds)[number] }>;

export function isLook(job: KeeperJob): job is LookJob {
  return lookKinds.some((kind) => kind === job.kind);
}
