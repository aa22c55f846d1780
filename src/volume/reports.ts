/** What long operations on a pool report. */

export interface VerifyReport {
  readonly segmentsChecked: number;
  readonly blocksChecked: number;
  /** The first hundred faults in words. */
  readonly faults: readonly string[];
  readonly faultCount: number;
}

export interface RebuildReport {
  readonly recordsRead: number;
  readonly entryCount: number;
  /** Nothing had to be replaced. */
  readonly wasEqual: boolean;
}

/** `done` of `total` steps. */
export type Progress = (done: number, total: number) => void;
