/** Recognisable content on an export, written and compared by qemu-io. */
import { run } from './run.ts';

/** One byte, in every byte of a stretch. Offset and length as qemu-io takes them: "0", "1M". */
export interface Stretch {
  readonly byte: number;
  readonly offset: string;
  readonly length: string;
}

/** Writes the stretches in order; everything is flushed when this returns. */
export async function writePattern(uri: string, stretches: readonly Stretch[]): Promise<void> {
  const writes = stretches.map((each) => `write -P ${each.byte} ${each.offset} ${each.length}`);
  await run('qemu-io', ['-f', 'raw', ...commands([...writes, 'flush']), uri]);
}

/** Whether the stretches hold what they say. Throws when the export cannot be read. */
export async function hasPattern(uri: string, stretches: readonly Stretch[]): Promise<boolean> {
  const reads = stretches.map((each) => `read -P ${each.byte} ${each.offset} ${each.length}`);
  try {
    await run('qemu-io', ['-r', '-f', 'raw', ...commands(reads), uri]);
    return true;
  } catch (error) {
    if (!String(error).includes('Pattern verification failed')) throw error;
    return false;
  }
}

function commands(lines: readonly string[]): string[] {
  return lines.flatMap((line) => ['-c', line]);
}
