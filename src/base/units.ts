/** Binary sizes as people write and read them: K, M, G, T, P are powers of 1024, with or without "iB". */

const suffixes = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;
const sizePattern = /^(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?$/i;

/** Bytes of "20G", "1.5TiB", "512M" or "4096"; undefined when it is none of these or is not a whole number of bytes. */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text.trim());
  if (match === null) return undefined;
  const power = match[2] === undefined ? 0 : 'KMGTP'.indexOf(match[2].toUpperCase()) + 1;
  const value = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** "20 GiB", "1.5 TiB", "512 B": at most one decimal. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let power = 0;
  // 1023.95 KiB would round to 1024 KiB: that is 1 MiB already.
  while (Math.round(value * 10) / 10 >= 1024 && power < suffixes.length - 1) {
    value /= 1024;
    power += 1;
  }
  const rounded = Math.round(value * 10) / 10;
  return `${Number.isInteger(rounded) ? rounded.toFixed(0) : rounded.toFixed(1)} ${suffixes[power] ?? 'B'}`;
}
