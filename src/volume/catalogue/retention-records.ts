/**
 * Records about how much of the past is kept: the policy of a volume (in VOL_CREATE, VIEW, VOL_SET), PIN, UNPIN, HORIZON.
 *
 * One record speaks of many volumes: what is decided for two hundred of them once a minute is one frame. A volume is named by
 * one of its lines, which belongs to it alone and for ever.
 */
import { type CdpPolicy, isCdpPolicy } from '../../base/cdp-policy.ts';
import { u32, u64, viewOf } from '../../base/fields.ts';
import { FormatError } from '../format/format-error.ts';
import { TlvReader, type TlvWriter } from '../format/tlv.ts';
import { tag } from './record-fields.ts';

/** Why the horizon moved. */
export const HorizonReason = { age: 0, budget: 1, poolFull: 2 } as const;
export type HorizonReason = (typeof HorizonReason)[keyof typeof HorizonReason];

/** Automatic pins: the states of lines before the record's own frame, or of moments that were past already, stay readable until UNPIN. */
export interface Pin {
  readonly kind: 'pin';
  /** Time of the states, milliseconds; whole. */
  readonly timeMs: number;
  /** Present lines of the volumes that are pinned, each once. */
  readonly lines: readonly number[];
  /** Absent: none. */
  readonly past?: readonly PastPin[];
}

/** A state that was past when it was pinned, and still kept. */
export interface PastPin {
  /** The volume's line of then. */
  readonly line: number;
  /** Everything before it is in the state. */
  readonly cut: number;
  /** Milliseconds; whole. */
  readonly timeMs: number;
}

export interface Unpin {
  readonly kind: 'unpin';
  /** Pins by the line whose state they hold, and its cut. */
  readonly pins: readonly { readonly line: number; readonly cut: number }[];
}

/** From `position` on every state of the volume is kept; before it only what is pinned. */
export interface HorizonMove {
  /** The volume's present line. */
  readonly line: number;
  /** Not behind the record, and never before an earlier horizon. */
  readonly position: number;
  /** Time of the oldest state that is kept, milliseconds; whole. */
  readonly timeMs: number;
  readonly reason: HorizonReason;
}

export interface Horizon {
  readonly kind: 'horizon';
  readonly moves: readonly HorizonMove[];
}

/** Entries of one record, so that its payload stays below 64 KiB. */
export const retentionEntriesMax = 2000;

const pinBytes = 4;
const pastPinBytes = 20;
const unpinBytes = 12;
const moveBytes = 24;
const tierBytes = 16;
/** An endless window. */
const unlimitedMs = Number.MAX_SAFE_INTEGER;

const pinLayout = { line: u32(0) };
const pastPinLayout = { line: u32(0), cut: u64(4), timeMs: u64(12) };
const unpinLayout = { line: u32(0), cut: u64(4) };
const moveLayout = { line: u32(0), reason: u32(4), position: u64(8), timeMs: u64(16) };
const tierLayout = { everyMs: u64(0), keepMs: u64(8) };

export const cdpTags = [tag.windowMs, tag.windowBytes, tag.tiers, tag.guarantee];

/** What records of volumes say of their windows. In VOL_SET what is absent stays. */
export interface CdpFields {
  /** Absent in records that make a volume: everything is kept. */
  readonly policy?: CdpPolicy;
  /** Whether a pool that is short of space leaves the window and the pins alone. Absent in records that make a volume: it does not. */
  readonly isGuaranteed?: boolean;
}

export function encodeCdp(writer: TlvWriter, { policy, isGuaranteed }: CdpFields): void {
  if (policy !== undefined) encodePolicy(writer, policy);
  if (isGuaranteed !== undefined) writer.number(tag.guarantee, isGuaranteed ? 1 : 0);
}

/** Throws FormatError for what is no policy. */
export function decodeCdp(reader: TlvReader): CdpFields {
  const policy = decodePolicy(reader);
  return {
    ...(policy === undefined ? {} : { policy }),
    ...(reader.has(tag.guarantee) ? { isGuaranteed: guaranteeOf(reader) } : {}),
  };
}

function guaranteeOf(reader: TlvReader): boolean {
  const guarantee = reader.number(tag.guarantee);
  if (guarantee > 1) {
    throw new FormatError(`guarantee ${guarantee} needs a newer tidemark`, { isTooNew: true });
  }
  return guarantee === 1;
}

function encodePolicy(writer: TlvWriter, policy: CdpPolicy): void {
  const { windowMs, windowBytes, tiers } = policy;
  writer.number(tag.windowMs, Math.min(windowMs, unlimitedMs));
  if (windowBytes !== undefined) writer.number(tag.windowBytes, windowBytes);
  const bytes = listOf(tiers, tierBytes, (view, at, { everyMs, keepMs }) => {
    tierLayout.everyMs.set(view, at, everyMs);
    tierLayout.keepMs.set(view, at, keepMs);
  });
  if (tiers.length > 0) writer.bytes(tag.tiers, bytes);
}

/** Undefined when the record says nothing about it. Throws FormatError for what is no policy. */
function decodePolicy(reader: TlvReader): CdpPolicy | undefined {
  if (!reader.has(tag.windowMs)) return undefined;
  const windowMs = reader.number(tag.windowMs);
  const tiers = reader.has(tag.tiers)
    ? itemsOf(reader.bytes(tag.tiers), tierBytes, (view, at) => ({
        everyMs: tierLayout.everyMs.get(view, at),
        keepMs: tierLayout.keepMs.get(view, at),
      }))
    : [];
  const policy = {
    windowMs: windowMs === unlimitedMs ? Number.POSITIVE_INFINITY : windowMs,
    windowBytes: reader.has(tag.windowBytes) ? reader.number(tag.windowBytes) : undefined,
    tiers,
  };
  if (!isCdpPolicy(policy)) throw new FormatError('no policy that a volume can have');
  return policy;
}

export function encodeRetention(writer: TlvWriter, record: Pin | Unpin | Horizon): TlvWriter {
  if (record.kind === 'pin') {
    const lines = listOf(record.lines, pinBytes, (view, at, line) => {
      pinLayout.line.set(view, at, line);
    });
    writer.number(tag.pinnedMs, record.timeMs).bytes(tag.pinnedLines, lines);
    return record.past === undefined ? writer : encodePast(writer, record.past);
  }
  if (record.kind === 'unpin') {
    const pins = listOf(record.pins, unpinBytes, (view, at, { line, cut }) => {
      unpinLayout.line.set(view, at, line);
      unpinLayout.cut.set(view, at, cut);
    });
    return writer.bytes(tag.unpinned, pins);
  }
  const moves = listOf(record.moves, moveBytes, (view, at, { line, reason, position, timeMs }) => {
    moveLayout.line.set(view, at, line);
    moveLayout.reason.set(view, at, reason);
    moveLayout.position.set(view, at, position);
    moveLayout.timeMs.set(view, at, timeMs);
  });
  return writer.bytes(tag.horizons, moves);
}

function encodePast(writer: TlvWriter, past: readonly PastPin[]): TlvWriter {
  const bytes = listOf(past, pastPinBytes, (view, at, { line, cut, timeMs }) => {
    pastPinLayout.line.set(view, at, line);
    pastPinLayout.cut.set(view, at, cut);
    pastPinLayout.timeMs.set(view, at, timeMs);
  });
  return writer.bytes(tag.pastPins, bytes);
}

function decodePast(reader: TlvReader): readonly PastPin[] {
  return itemsOf(reader.bytes(tag.pastPins), pastPinBytes, (view, at) => ({
    line: pastPinLayout.line.get(view, at),
    cut: pastPinLayout.cut.get(view, at),
    timeMs: pastPinLayout.timeMs.get(view, at),
  }));
}

export function decodePin(_line: number, payload: Uint8Array): Pin {
  const reader = new TlvReader(payload, 'PIN', [tag.pinnedMs, tag.pinnedLines, tag.pastPins]);
  const lines = itemsOf(reader.bytes(tag.pinnedLines), pinBytes, (view, at) =>
    pinLayout.line.get(view, at),
  );
  const past = reader.has(tag.pastPins) ? { past: decodePast(reader) } : {};
  return { kind: 'pin', timeMs: reader.number(tag.pinnedMs), lines, ...past };
}

export function decodeUnpin(_line: number, payload: Uint8Array): Unpin {
  const reader = new TlvReader(payload, 'UNPIN', [tag.unpinned]);
  const pins = itemsOf(reader.bytes(tag.unpinned), unpinBytes, (view, at) => ({
    line: unpinLayout.line.get(view, at),
    cut: unpinLayout.cut.get(view, at),
  }));
  return { kind: 'unpin', pins };
}

export function decodeHorizon(_line: number, payload: Uint8Array): Horizon {
  const reader = new TlvReader(payload, 'HORIZON', [tag.horizons]);
  const moves = itemsOf(reader.bytes(tag.horizons), moveBytes, (view, at) => ({
    line: moveLayout.line.get(view, at),
    reason: horizonReasonOf(moveLayout.reason.get(view, at)),
    position: moveLayout.position.get(view, at),
    timeMs: moveLayout.timeMs.get(view, at),
  }));
  return { kind: 'horizon', moves };
}

function horizonReasonOf(code: number): HorizonReason {
  if (code !== 0 && code !== 1 && code !== 2) {
    throw new FormatError(`HORIZON: reason ${code} needs a newer tidemark`, { isTooNew: true });
  }
  return code;
}

function listOf<T>(
  items: readonly T[],
  itemBytes: number,
  set: (view: DataView, at: number, item: T) => void,
): Uint8Array {
  const bytes = new Uint8Array(items.length * itemBytes);
  const view = viewOf(bytes);
  items.forEach((item, index) => {
    set(view, index * itemBytes, item);
  });
  return bytes;
}

/** Throws FormatError when the bytes are no whole number of items. */
function itemsOf<T>(
  bytes: Uint8Array,
  itemBytes: number,
  get: (view: DataView, at: number) => T,
): T[] {
  if (bytes.length % itemBytes !== 0) {
    throw new FormatError(`a list of ${bytes.length} bytes is cut short`);
  }
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length / itemBytes }, (_, index) =>
    get(view, index * itemBytes),
  );
}
