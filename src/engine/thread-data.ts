/** What the engine's main thread gives its helper threads at start, and the one word besides jobs. */
import type { CommitShared } from '../volume/commit-ring.ts';
import type { KeeperSettings } from '../volume/keeper.ts';

export interface CommitThreadData {
  readonly folder: string;
  readonly shared: CommitShared;
}

/** What the commit thread is told: first perhaps to look for the files of a pool, which it answers, then what it works on for good. */
export type CommitOrder =
  | { readonly kind: 'find-files'; readonly folder: string }
  | ({ readonly kind: 'begin' } & CommitThreadData);

export interface KeeperThreadData {
  readonly folder: string;
  readonly settings: KeeperSettings;
}

/** Ends the keeper thread after the jobs before it. */
export const keeperStop = 'stop';
