/** Addresses that iSCSI initiators with URIs (libiscsi, qemu) understand. */
import type { IscsiListening } from '../engine/protocol.ts';
import { uriHost } from './nbd-uris.ts';

/** One URI for each open portal. A portal on all addresses is named by its loopback. */
export function iscsiUris(iscsi: IscsiListening, lun: number): string[] {
  return iscsi.portals
    .filter(({ fault }) => fault === undefined)
    .map(({ address, port }) => `iscsi://${uriHost(address)}:${port}/${iscsi.targetName}/${lun}`);
}
