/**
 * iSCSI TransportID (SPC-4 7.6.4.6): how PERSISTENT RESERVE parameter lists name an initiator.
 *
 *     0  format (7..6), protocol 5h       1  reserved       2..3  additional length, a multiple of 4
 *     4  "iqn.x,i,0x00023d000001" NUL     format 01b: initiator port (name and ISID)
 *        "iqn.x" NUL                      format 00b: initiator device (name alone)
 */
import { u8, u16be } from '../base/fields.ts';
import { iscsiName } from '../base/iscsi-name.ts';

/** An initiator port. `isid` is 12 lower-case hex digits; empty = the name alone, whatever the ISID. */
export interface InitiatorPort {
  readonly initiatorName: string;
  readonly isid: string;
}

const transportId = { format: u8(0), additionalLength: u16be(2) } as const;
const headerBytes = 4;
/** The smallest additional length of an iSCSI TransportID. */
const additionalMinBytes = 20;
const protocolIscsi = 0x05;
const formatDevice = 0x00;
const formatPort = 0x40;
const isidSeparator = ',i,0x';
const utf8 = new TextEncoder();
const isidPattern = /^[0-9a-f]{12}$/;

/** Bytes that `encodeTransportId` writes. */
export function transportIdBytes(port: InitiatorPort): number {
  const textBytes = utf8.encode(transportIdText(port)).length + 1;
  return headerBytes + Math.max(additionalMinBytes, Math.ceil(textBytes / 4) * 4);
}

/** Writes the TransportID at `at` into zeroed `target`; returns the bytes used. */
export function encodeTransportId(target: DataView, at: number, port: InitiatorPort): number {
  const size = transportIdBytes(port);
  transportId.format.set(
    target,
    at,
    (port.isid === '' ? formatDevice : formatPort) | protocolIscsi,
  );
  transportId.additionalLength.set(target, at, size - headerBytes);
  for (const [index, byte] of utf8.encode(transportIdText(port)).entries()) {
    target.setUint8(at + headerBytes + index, byte);
  }
  return size;
}

/** Reads one TransportID from [at, end); undefined when it is cut short, not iSCSI's, or not well formed. */
export function decodeTransportId(
  source: DataView,
  at: number,
  end: number,
): { readonly port: InitiatorPort; readonly sizeBytes: number } | undefined {
  if (end - at < headerBytes + additionalMinBytes) return undefined;
  const format = transportId.format.get(source, at);
  const isPort = format === (formatPort | protocolIscsi);
  if (!isPort && format !== (formatDevice | protocolIscsi)) return undefined;
  const additionalBytes = transportId.additionalLength.get(source, at);
  if (additionalBytes < additionalMinBytes || additionalBytes % 4 !== 0) return undefined;
  if (additionalBytes > end - at - headerBytes) return undefined;
  const text = terminatedText(source, at + headerBytes, additionalBytes);
  const port = text === undefined ? undefined : parsePort(text, isPort);
  return port === undefined ? undefined : { port, sizeBytes: headerBytes + additionalBytes };
}

function transportIdText({ initiatorName, isid }: InitiatorPort): string {
  return isid === '' ? initiatorName : `${initiatorName}${isidSeparator}${isid}`;
}

/** The text before the NUL that must be there. */
function terminatedText(source: DataView, at: number, maxBytes: number): string | undefined {
  const field = new Uint8Array(source.buffer, source.byteOffset + at, maxBytes);
  const end = field.indexOf(0);
  return end < 0 ? undefined : utf8Text(field.subarray(0, end));
}

/** Names may hold any letters (RFC 3722); undefined when the bytes are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function parsePort(text: string, isPort: boolean): InitiatorPort | undefined {
  const split = isPort ? text.lastIndexOf(isidSeparator) : text.length;
  if (split < 0) return undefined;
  const initiatorName = iscsiName(text.slice(0, split));
  const isid = text.slice(split + isidSeparator.length).toLowerCase();
  if (initiatorName === undefined) return undefined;
  if (isPort && !isidPattern.test(isid)) return undefined;
  return { initiatorName, isid: isPort ? isid : '' };
}
