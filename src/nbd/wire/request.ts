/** Transmission requests, NBD protocol "Request message". A WRITE is followed by `length` bytes of payload. */
import { u16be, u32be, u64be } from '../../base/fields.ts';

export const request = {
  magic: u32be(0),
  flags: u16be(4),
  command: u16be(6),
  cookieHigh: u32be(8),
  cookieLow: u32be(12),
  offset: u64be(16),
  length: u32be(24),
} as const;
export const requestBytes = 28;
export const requestMagic = 0x25609513;

export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const CommandFlag = {
  fua: 1,
  noHole: 1 << 1,
  dontFragment: 1 << 2,
  onlyOne: 1 << 3,
  fastZero: 1 << 4,
} as const;
