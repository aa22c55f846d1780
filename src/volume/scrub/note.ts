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
  try {
    const note = JSON.parse(text) as { version?: number } & ScrubNote;
    return note.version === noteVersion ? note : undefined;
  } catch {
    return undefined;
  }
}
