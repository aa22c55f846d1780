/** Addresses that iSCSI initiators with URIs (libiscsi, qemu) understand. */
import type { IscsiListening } from '../engine/protocol.ts';
import { uriHost } from './nbd-uris.ts';

/** Of a LUN at a target, one URI for each open portal. A portal on all addresses is named by its loopback. */
export function iscsiUris(
  { portals }: Pick<IscsiListening, 'portals'>,
  targetName: string,
  lun: number,
): string[] {
  return portals
    .filter(({ fault }) => fault === undefined)
    .map(({ address, port }) => `iscsi://${uriHost(address)}:${port}/${targetName}/${lun}`);
}
