/** Where a connection came in. */
export interface Portal {
  /** As the initiator reached it, for people. */
  readonly address: string;
  readonly port: number;
  /** Target portal group tag. */
  readonly group: number;
  /** Relative target port identifier, from 1; the same portal has the same one as long as the engine runs. */
  readonly relativePort: number;
}

/** Address of a peer written as `address:port`; an IPv4 address that came through IPv6 is IPv4. */
export function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  const address = colon < 0 ? peer : peer.slice(0, colon);
  const isMapped = address.startsWith('::ffff:') && address.includes('.');
  return isMapped ? address.slice('::ffff:'.length) : address;
}
