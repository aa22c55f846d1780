// expect rooms: deep-import
// expect rooms: room
import type { Secret } from '../volume/log/private.ts';

export function reveal(secret: Secret): number {
  return secret;
}
