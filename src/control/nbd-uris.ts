/** Addresses that NBD clients understand, as the NBD project's URI specification writes them. */
import type { NbdListening } from '../engine/protocol.ts';

/** The URIs of one export, the unix socket first. A listener on all addresses is named by its loopback. */
export function nbdUris(nbd: NbdListening, exportName: string): string[] {
  const path = encodeURIComponent(exportName);
  const uris: string[] = [];
  if (nbd.socketPath !== undefined) {
    const socket = nbd.socketPath.split('/').map(encodeURIComponent).join('/');
    uris.push(`nbd+unix:///${path}?socket=${socket}`);
  }
  if (nbd.tcp !== undefined) {
    const scheme = nbd.tcp.tls === undefined ? 'nbd' : 'nbds';
    uris.push(`${scheme}://${uriHost(nbd.tcp.address)}:${nbd.tcp.port}/${path}`);
  }
  return uris;
}

/** An address as the host of a URI. */
export function uriHost(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  if (address === '::') return '[::1]';
  return address.includes(':') ? `[${address}]` : address;
}
