/** Newstyle greeting and client flags, NBD protocol "Fixed newstyle negotiation". */
import { u16be, u32be, viewOf } from '../../base/fields.ts';

/** Server greeting: `NBDMAGIC`, `IHAVEOPT`, handshake flags. */
const greeting = {
  magicHigh: u32be(0),
  magicLow: u32be(4),
  optionMagicHigh: u32be(8),
  optionMagicLow: u32be(12),
  handshakeFlags: u16be(16),
} as const;
const greetingBytes = 18;

/** Client flags: the client's first four bytes. */
const clientFlags = { flags: u32be(0) } as const;
export const clientFlagsBytes = 4;

const nbdMagicHigh = 0x4e42444d;
const nbdMagicLow = 0x41474943;
export const optionMagicHigh = 0x49484156;
export const optionMagicLow = 0x454f5054;

/** Same bits in the server's and in the client's flags. */
const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;
const handshakeFlagsKnown = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;

export interface ClientFlags {
  readonly isFixedNewstyle: boolean;
  readonly wantsNoZeroes: boolean;
}

/** The 18 bytes that open every connection; the caller owns them. */
export function encodeGreeting(): Uint8Array {
  const bytes = new Uint8Array(greetingBytes);
  const view = viewOf(bytes);
  greeting.magicHigh.set(view, 0, nbdMagicHigh);
  greeting.magicLow.set(view, 0, nbdMagicLow);
  greeting.optionMagicHigh.set(view, 0, optionMagicHigh);
  greeting.optionMagicLow.set(view, 0, optionMagicLow);
  greeting.handshakeFlags.set(view, 0, handshakeFlagsKnown);
  return bytes;
}

/** Undefined when the client sets a bit that we did not offer: the connection must be dropped then. */
export function decodeClientFlags(bytes: Uint8Array): ClientFlags | undefined {
  const flags = clientFlags.flags.get(viewOf(bytes), 0);
  if ((flags & ~handshakeFlagsKnown) !== 0) return undefined;
  return {
    isFixedNewstyle: (flags & HandshakeFlag.fixedNewstyle) !== 0,
    wantsNoZeroes: (flags & HandshakeFlag.noZeroes) !== 0,
  };
}
