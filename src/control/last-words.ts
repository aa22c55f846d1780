/** What an engine's log says at its end, for the line that tells the operator why it ended. */
import { LAST_WORDS_LINES } from './limits.ts';

/**
 * The last lines of a log as text. Lines of the structured log are reduced to their message; of a crash's report the
 * calls and the version line are left out, so that the error itself is among the last.
 */
export function lastWords(logText: string): readonly string[] {
  const lines = logText.split('\n').filter((line) => line.trim() !== '' && !isCrashNoise(line));
  return lines.slice(-LAST_WORDS_LINES).map(lineText);
}

/** The one line among last words that says most: the error of a crash, else the last one. */
export function mainReason(words: readonly string[]): string {
  return words.find((word) => /^\w*Error\b/.test(word)) ?? words.at(-1) ?? 'it logged nothing';
}

function isCrashNoise(line: string): boolean {
  return /^\s+at |^\s*\^+\s*$|^Node\.js v|^[{}]$/.test(line);
}

function lineText(line: string): string {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && 'msg' in value) return String(value.msg);
  } catch {
    // Not a structured line: the report of a crash, for one. It is shown as it stands.
  }
  return line;
}
