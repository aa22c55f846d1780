/** What initiators of tests know of PDUs, from RFC 7143 and not from our encoders: opcodes, keys, digests, and how sense data is read. */
import { crc32c } from '@node-rs/crc32';

export const Opcode = {
  nopOut: 0x00,
  command: 0x01,
  taskManagement: 0x02,
  login: 0x03,
  text: 0x04,
  dataOut: 0x05,
  logout: 0x06,
  snack: 0x10,
  nopIn: 0x20,
  response: 0x21,
  taskManagementResponse: 0x22,
  loginResponse: 0x23,
  textResponse: 0x24,
  dataIn: 0x25,
  logoutResponse: 0x26,
  r2t: 0x31,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const;

export const noTag = 0xffff_ffff;

export interface LoginOptions {
  readonly initiatorName: string;
  /** Absent = a discovery session. */
  readonly targetName?: string;
  readonly isid?: number;
  readonly isDigested?: boolean;
}

/** The digest of a header or a padded data segment, as it is sent. */
export function digestOf(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(4);
  // The standard sends the CRC's least significant byte first.
  new DataView(digest.buffer).setUint32(0, crc32c(bytes), true);
  return digest;
}

/** Keys as the data of a login request. */
export function textOf(pairs: Readonly<Record<string, string>>): Uint8Array {
  const lines = Object.entries(pairs).map(([key, value]) => `${key}=${value}\0`);
  return new TextEncoder().encode(lines.join(''));
}

export function pairsOf(data: Uint8Array): Map<string, string> {
  const lines = new TextDecoder().decode(data).split('\0');
  return new Map(
    lines
      .filter((line) => line.includes('='))
      .map((line) => {
        const at = line.indexOf('=');
        return [line.slice(0, at), line.slice(at + 1)];
      }),
  );
}

/** What an initiator offers in the operational stage; a discovery session when no target is named. */
export function operationalKeys(options: LoginOptions): Record<string, string> {
  const digest = options.isDigested === true ? 'CRC32C' : 'None';
  const kind: Record<string, string> =
    options.targetName === undefined
      ? { SessionType: 'Discovery' }
      : { SessionType: 'Normal', TargetName: options.targetName };
  return {
    InitiatorName: options.initiatorName,
    ...kind,
    HeaderDigest: digest,
    DataDigest: digest,
    MaxRecvDataSegmentLength: '262144',
    ...(options.targetName === undefined ? {} : { InitialR2T: 'Yes', ImmediateData: 'Yes' }),
  };
}

/** Sense key and additional sense code with its qualifier, as one number: 0x052500 is 5/25/00. */
export function senseCode(sense: Uint8Array): number {
  const isDescriptor = ((sense[0] ?? 0) & 0x7f) >= 0x72;
  const [key, code, qualifier] = isDescriptor
    ? [sense[1], sense[2], sense[3]]
    : [sense[2], sense[12], sense[13]];
  return (((key ?? 0) & 0x0f) << 16) | ((code ?? 0) << 8) | (qualifier ?? 0);
}
