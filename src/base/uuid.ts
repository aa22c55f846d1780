/** 16-byte ids: random UUIDs (version 4) and their text forms. */
import type { Random } from './ports.ts';

export function makeUuid(random: Random): Uint8Array {
  const id = new Uint8Array(16);
  random.fill(id);
  id[6] = ((id[6] ?? 0) & 0x0f) | 0x40;
  id[8] = ((id[8] ?? 0) & 0x3f) | 0x80;
  return id;
}

export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** "123e4567-e89b-42d3-a456-426614174000". */
export function uuidText(id: Uint8Array): string {
  const hex = toHex(id);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}
