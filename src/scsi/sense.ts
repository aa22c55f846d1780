/**
 * Sense data, SPC-4 section 4.5: why a command failed, in one of two formats.
 *
 *     fixed        70h │ key │ INFORMATION (4) │ 0Ah │ command-specific (4) │ ASC │ ASCQ │ FRU │ key-specific (3)
 *     descriptor   72h │ key │ ASC │ ASCQ │ length │ { information 00h } { command-specific 01h } { key-specific 02h }
 *
 * A code is one number, key << 16 | ASC << 8 | ASCQ, so that it costs nothing to pass around and compare. This file is the
 * only one that writes sense bytes.
 */
import { bytes, u8, u32be, u64be, viewOf } from '../base/fields.ts';

export const SenseCode = {
  noSense: 0x000000,
  becomingReady: 0x020401,
  copyManagerNotReady: 0x020400,
  asymmetricTransition: 0x02040a,
  targetPortInStandby: 0x02040b,
  targetPortUnavailable: 0x02040c,
  notReadyManualIntervention: 0x020403,
  writeError: 0x030c00,
  unrecoveredReadError: 0x031100,
  internalTargetFailure: 0x044400,
  operationInProgress: 0x050016,
  parameterListLengthError: 0x051a00,
  invalidOperationCode: 0x052000,
  lbaOutOfRange: 0x052100,
  invalidFieldInCdb: 0x052400,
  logicalUnitNotSupported: 0x052500,
  invalidFieldInParameterList: 0x052600,
  invalidReleaseOfReservation: 0x052604,
  tooManyTargetDescriptors: 0x052606,
  unsupportedTargetDescriptor: 0x052607,
  tooManySegmentDescriptors: 0x052608,
  unsupportedSegmentDescriptor: 0x052609,
  inlineDataLengthExceeded: 0x05260b,
  invalidCommandSequence: 0x052c00,
  savingParametersNotSupported: 0x053900,
  invalidMessage: 0x054900,
  insufficientRegistrationResources: 0x055504,
  powerOnOrReset: 0x062900,
  scsiBusReset: 0x062902,
  busDeviceReset: 0x062903,
  modeParametersChanged: 0x062a01,
  logParametersChanged: 0x062a02,
  reservationsPreempted: 0x062a03,
  reservationsReleased: 0x062a04,
  registrationsPreempted: 0x062a05,
  asymmetricStateChanged: 0x062a06,
  capacityChanged: 0x062a09,
  commandsClearedByAnotherInitiator: 0x062f00,
  softThresholdReached: 0x063807,
  inquiryDataChanged: 0x063f03,
  reportedLunsChanged: 0x063f0e,
  writeProtected: 0x072700,
  spaceAllocationFailed: 0x072707,
  copyAborted: 0x0a0000,
  copyTargetUnreachable: 0x0a0804,
  copyWrongDeviceType: 0x0a0d03,
  copyTargetNotReachable: 0x0a0d02,
  copyThirdPartyFailure: 0x0a0d01,
  copyInvalidField: 0x0a2600,
  copySegmentLengthExceeded: 0x0a260a,
  miscompareDuringVerify: 0x0e1d00,
} as const;
export type SenseCode = (typeof SenseCode)[keyof typeof SenseCode];

/** What a code alone cannot say. */
export interface SenseDetail {
  /** LBA of the first bad block, or offset of the first different byte: what the command's standard says. */
  readonly information?: number;
  readonly commandSpecific?: number;
  /** From `cdbField` or `parameterField`. */
  readonly keySpecific?: number;
}

const sksValid = 0x80;
const sksInCdb = 0x40;
const sksBitValid = 0x08;

function pointer(flags: number, byte: number, bit: number | undefined): number {
  const bits = bit === undefined ? 0 : sksBitValid | bit;
  return ((sksValid | flags | bits) << 16) | (byte & 0xffff);
}

/** Points at the field of the CDB that is wrong: its first byte and the leftmost bit. */
export function cdbField(byte: number, bit?: number): number {
  return pointer(sksInCdb, byte, bit);
}

/** Points at the wrong field of the parameter list. */
export function parameterField(byte: number, bit?: number): number {
  return pointer(0, byte, bit);
}

function senseKeyOf(code: number): number {
  return code >> 16;
}

const fixedBytes = 18;
const fixed = {
  response: u8(0),
  key: u8(2),
  information: u32be(3),
  additionalLength: u8(7),
  commandSpecific: u32be(8),
  asc: u8(12),
  ascq: u8(13),
  keySpecific: bytes(15, 3),
} as const;

const descriptorHeaderBytes = 8;
const descriptor = {
  response: u8(0),
  key: u8(1),
  asc: u8(2),
  ascq: u8(3),
  additionalLength: u8(7),
} as const;

/** Descriptors 00h information and 01h command-specific information, SPC-4 4.5.2.2 and 4.5.2.3. */
const longDescriptorBytes = 12;
const longDescriptor = { type: u8(0), length: u8(1), valid: u8(2), value: u64be(4) } as const;
/** Descriptor 02h sense-key specific, SPC-4 4.5.2.4. */
const keyDescriptorBytes = 8;
const keyDescriptor = { type: u8(0), length: u8(1), keySpecific: bytes(4, 3) } as const;

/** More than any sense takes. */
export const senseMaxBytes = 64;

/** Writes sense for `code` to the start of `target` (at least `senseMaxBytes` long); returns how many bytes it is. */
export function encodeSense(
  target: Uint8Array,
  code: number,
  detail: SenseDetail | undefined,
  isDescriptor: boolean,
): number {
  target.fill(0, 0, senseMaxBytes);
  return isDescriptor ? encodeDescriptor(target, code, detail) : encodeFixed(target, code, detail);
}

function encodeFixed(target: Uint8Array, code: number, detail: SenseDetail | undefined): number {
  const view = viewOf(target);
  fixed.response.set(view, 0, 0x70);
  fixed.key.set(view, 0, senseKeyOf(code));
  fixed.additionalLength.set(view, 0, fixedBytes - 8);
  fixed.asc.set(view, 0, (code >> 8) & 0xff);
  fixed.ascq.set(view, 0, code & 0xff);
  if (detail === undefined) return fixedBytes;
  const { information, commandSpecific, keySpecific } = detail;
  // A value that does not fit leaves VALID clear: SPC-4 4.5.3 forbids to send a cut one.
  if (information !== undefined && information <= 0xffffffff) {
    fixed.response.set(view, 0, 0xf0);
    fixed.information.set(view, 0, information);
  }
  if (commandSpecific !== undefined && commandSpecific <= 0xffffffff) {
    fixed.commandSpecific.set(view, 0, commandSpecific);
  }
  if (keySpecific !== undefined) fixed.keySpecific.set(target, 0, keyBytes(keySpecific));
  return fixedBytes;
}

function encodeDescriptor(
  target: Uint8Array,
  code: number,
  detail: SenseDetail | undefined,
): number {
  const view = viewOf(target);
  descriptor.response.set(view, 0, 0x72);
  descriptor.key.set(view, 0, senseKeyOf(code));
  descriptor.asc.set(view, 0, (code >> 8) & 0xff);
  descriptor.ascq.set(view, 0, code & 0xff);
  let at = descriptorHeaderBytes;
  if (detail?.information !== undefined) at += putLong(view, at, 0x00, detail.information);
  if (detail?.commandSpecific !== undefined) at += putLong(view, at, 0x01, detail.commandSpecific);
  if (detail?.keySpecific !== undefined) {
    keyDescriptor.type.set(view, at, 0x02);
    keyDescriptor.length.set(view, at, keyDescriptorBytes - 2);
    keyDescriptor.keySpecific.set(target, at, keyBytes(detail.keySpecific));
    at += keyDescriptorBytes;
  }
  descriptor.additionalLength.set(view, 0, at - descriptorHeaderBytes);
  return at;
}

function putLong(view: DataView, at: number, type: number, value: number): number {
  longDescriptor.type.set(view, at, type);
  longDescriptor.length.set(view, at, longDescriptorBytes - 2);
  longDescriptor.valid.set(view, at, type === 0 ? 0x80 : 0);
  longDescriptor.value.set(view, at, value);
  return longDescriptorBytes;
}

function keyBytes(keySpecific: number): Uint8Array {
  return Uint8Array.of((keySpecific >> 16) & 0xff, (keySpecific >> 8) & 0xff, keySpecific & 0xff);
}
