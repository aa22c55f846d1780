/** What is kept of a volume's past, as PIN, UNPIN and HORIZON records have made it. */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { HorizonMove, Pin } from './retention-records.ts';

/** An automatic pin. Volumes that were pinned at once share one object: there may be hundreds of thousands. */
export interface PinState {
  /** Everything before it in the log is in the state. */
  readonly cut: number;
  readonly timeMs: number;
}

/** Every state of the volume from `position` on is kept. */
export type HorizonState = Pick<HorizonMove, 'position' | 'timeMs' | 'reason'>;

export interface KeptMoments {
  policy: CdpPolicy;
  /** A pool that is short of space leaves the window and the pins alone. */
  isGuaranteed: boolean;
  /** Undefined: everything since the volume was made. */
  horizon: HorizonState | undefined;
  /** In order of their cuts. */
  readonly pins: PinState[];
}

/** The pin that the record at `position` makes. */
export function pinAt({ timeMs }: Pick<Pin, 'timeMs'>, position: number): PinState {
  return { cut: positionOf(frameAddressOf(position), 0), timeMs };
}

/** Throws FormatError when the volume has a pin as new as this one already, or a later one. */
export function addPin({ pins }: KeptMoments, pin: PinState): void {
  const last = pins.at(-1);
  if (last !== undefined && (last.cut >= pin.cut || last.timeMs > pin.timeMs)) {
    throw new FormatError(`a pin at ${pin.cut} follows one at ${last.cut}`);
  }
  pins.push(pin);
}

/**
 * Throws FormatError when the state is not kept any more (it lies before the horizon), or of the future of the record at
 * `position`, or when it is not in order with the pins beside it.
 */
export function addPastPin({ pins, horizon }: KeptMoments, pin: PinState, position: number): void {
  // They come in order: nearly always behind the last one.
  const at = pins.findLastIndex(({ cut }) => cut < pin.cut) + 1;
  const [before, after] = [pins[at - 1], pins[at]];
  const isKept = pin.cut >= (horizon?.position ?? 0) && pin.cut <= position;
  const isInOrder =
    (before?.timeMs ?? 0) <= pin.timeMs && (after === undefined || after.timeMs >= pin.timeMs);
  if (!isKept || !isInOrder || after?.cut === pin.cut) {
    throw new FormatError(`a past state at ${pin.cut} is pinned at ${position}`);
  }
  pins.splice(at, 0, pin);
}

/** Throws FormatError when there is no such pin. */
export function removePin({ pins }: KeptMoments, cut: number): void {
  const at = indexOfPin(pins, cut);
  if (at < 0) throw new FormatError(`no pin at ${cut}`);
  pins.splice(at, 1);
}

/** Throws FormatError when the horizon would go back, or before the record that moves it. */
export function moveHorizon(kept: KeptMoments, move: HorizonMove, position: number): void {
  const before = kept.horizon?.position ?? -1;
  if (move.position <= before || move.position > position) {
    throw new FormatError(`a horizon moves from ${before} to ${move.position} at ${position}`);
  }
  kept.horizon = { position: move.position, timeMs: move.timeMs, reason: move.reason };
}

/** Index of the pin at `cut`; -1 when there is none. */
export function indexOfPin(pins: readonly PinState[], cut: number): number {
  let low = 0;
  let high = pins.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = pins[middle]?.cut ?? 0;
    if (found === cut) return middle;
    if (found < cut) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
