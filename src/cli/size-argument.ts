/** Sizes on the command line. */
import { formatSize, parseSize } from '../base/units.ts';
import { usageFailure } from './failure.ts';

/** Volumes and pools are made of whole blocks of this size. */
const BLOCK_BYTES = 4096;

export const sizeHelp = 'bytes, or with K, M, G, T: 20G = 20 GiB; a multiple of 4096 bytes';

/** Bytes of a size argument. Throws CommandFailure `usage` that names the nearest size which would do. */
export function sizeArgument(text: string): number {
  const sizeBytes = parseSize(text);
  if (sizeBytes === undefined) {
    throw usageFailure(
      `${text} is not a size`,
      'write bytes, or a number with K, M, G or T: 20G, 1.5TiB, 512M',
    );
  }
  if (sizeBytes === 0) throw usageFailure('the size must be more than 0');
  if (sizeBytes % BLOCK_BYTES !== 0) {
    const below = Math.floor(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    const above = below + BLOCK_BYTES;
    const nearest = below > 0 && sizeBytes - below < above - sizeBytes ? below : above;
    throw usageFailure(
      `${text} is ${sizeBytes} bytes, which is not a multiple of ${BLOCK_BYTES}`,
      `the nearest size that is: ${nearest}`,
    );
  }
  return sizeBytes;
}

/** "20 GiB (21474836480 bytes)" */
export function exactSize(sizeBytes: number): string {
  return `${formatSize(sizeBytes)} (${sizeBytes} bytes)`;
}
