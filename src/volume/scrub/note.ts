/** What the scrubber finds again at the next open, as text: kept beside the manifest's contents, thrown away with it. */
import type { ScrubPass } from '../reports.ts';

export interface ScrubNote {
  readonly isPaused: boolean;
  readonly bytesPerSecond: number;
  readonly passStartedMs: number | undefined;
  readonly segId: number;
  readonly blocksChecked: number;
  readonly lastPass: ScrubPass | undefined;
}

const noteVersion = 1;

export function encodeNote(note: ScrubNote): string {
  return JSON.stringify({ version: noteVersion, ...note });
}

/** Undefined for none, for one of another version and for what is none. */
export function decodeNote(text: string | undefined): ScrubNote | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isNote(value) ? value : undefined;
}

function isNote(value: unknown): value is ScrubNote {
  const { version, isPaused, bytesPerSecond, passStartedMs, segId, blocksChecked, lastPass } =
    fieldsOf(value);
  return (
    version === noteVersion &&
    typeof isPaused === 'boolean' &&
    [bytesPerSecond, segId, blocksChecked].every(isCount) &&
    (passStartedMs === undefined || isCount(passStartedMs)) &&
    (lastPass === undefined || isPass(lastPass))
  );
}

function isPass(value: unknown): value is ScrubPass {
  const { startedMs, finishedMs, blocksChecked, findingCount, isManifestChecked } = fieldsOf(value);
  return (
    [startedMs, finishedMs, blocksChecked, findingCount].every(isCount) &&
    typeof isManifestChecked === 'boolean'
  );
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
