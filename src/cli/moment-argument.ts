/** Moments on the command line. */
import { momentRule, parseMoment } from '../base/moment.ts';
import type { MomentPlace } from '../contract/history.ts';
import type { MomentOpenOperation } from '../contract/operation.ts';
import type { Session } from './command-session.ts';
import { usageFailure } from './failure.ts';
import { watch } from './watch.ts';

export const momentHelp =
  'snapshot:NAME, now, a time (2026-11-22T14:03:07Z), an age (-15m) or position:N';

/** The moment that `text` names. Throws CommandFailure `usage` for what cannot be one. */
export function momentArgument(text: string): string {
  if (parseMoment(text) !== undefined) return text;
  // What begins like an age is more likely a wrong one.
  const isName = !text.startsWith('-') && parseMoment(`snapshot:${text}`) !== undefined;
  const hint = isName ? `write snapshot:${text} for the snapshot, or ` : 'write ';
  throw usageFailure(`"${text}" names no moment`, `${hint}${momentRule}`);
}

/**
 * Finds the moment of a volume and has its map made, with a progress line where that takes a while: what is opened there
 * next is there at once. Its `at` stays right while time goes on. Throws CommandFailure when there is no such moment.
 */
export async function openMoment(
  session: Session,
  volume: string,
  at: string,
): Promise<MomentPlace> {
  const path = `/v1/volumes/${encodeURIComponent(volume)}/moments`;
  const started = await session.send<MomentOpenOperation>('POST', path, { at });
  const { result } = await watch(session, started, `opening ${volume} at ${at}`);
  if (result === undefined) throw usageFailure(`${volume} has no moment ${at}`);
  return result;
}

/** As `openMoment`, for what goes on to be done at `at`: "now" is not looked for. */
export async function preparedMoment(
  session: Session,
  volume: string,
  at: string,
): Promise<string> {
  return at === 'now' ? at : (await openMoment(session, volume, at)).at;
}
