/** Moments on the command line. */
import { usageFailure } from './failure.ts';

export const momentHelp = 'snapshot:NAME or now';

/** The moment that `text` names. Throws CommandFailure `usage` for what cannot be one. */
export function momentArgument(text: string): string {
  if (text === 'now' || text.startsWith('snapshot:')) return text;
  throw usageFailure(`"${text}" names no moment`, `write snapshot:${text}, or now`);
}
