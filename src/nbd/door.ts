/** A way into the server: what one listener asks of those who come through it. */
import type { StreamSecurity } from '../base/ports.ts';

export interface NbdDoor {
  /** Present: clients must use STARTTLS, and this does it. Absent: TLS is not offered. */
  readonly security: StreamSecurity | undefined;
}

/** For listeners that are protected by other means, or not at all. */
export const plainDoor: NbdDoor = { security: undefined };
