/** What is kept of a volume's past, as PIN, UNPIN and HORIZON records have made it. */
import type { CdpPolicy } from '../../base/cdp-policy.ts';
import { frameAddressOf, positionOf } from '../format/address.ts';
import { FormatError } from '../format/format-error.ts';
import type { PinList, PinState } from './pin-list.ts';
import type { HorizonMove, Pin } from './retention-records.ts';

/** Every state of the volume from `position` on is kept. */
export type HorizonState = Pick<HorizonMove, 'position' | 'timeMs' | 'reason'>;

export interface KeptMoments {
  policy: CdpPolicy;
  /** A pool that is short of space leaves the window and the pins alone. */
  isGuaranteed: boolean;
  /** Undefined: everything since the volume was made. */
  horizon: HorizonState | undefined;
  readonly pins: PinList;
}

/** The pin that the record at `position` makes. */
export function pinAt({ timeMs }: Pick<Pin, 'timeMs'>, position: number): PinState {
  return { cut: positionOf(frameAddressOf(position), 0), timeMs };
}

/** Throws FormatError when the volume has a pin as new as this one already, or a later one. */
export function addPin({ pins }: KeptMoments, pin: PinState): void {
  const last = pins.cutAt(pins.length - 1);
  if (pins.length > 0 && last >= pin.cut) {
    throw new FormatError(`a pin at ${pin.cut} follows one at ${last}`);
  }
  pins.add(pin);
}

/**
 * Throws FormatError when the state is not kept any more (it lies before the horizon), or of the future of the record at
 * `position`, or when it is not in order with the pins beside it.
 */
export function addPastPin({ pins, horizon }: KeptMoments, pin: PinState, position: number): void {
  if (pin.cut < (horizon?.position ?? 0) || pin.cut > position) {
    throw new FormatError(`a past state at ${pin.cut} is pinned at ${position}`);
  }
  pins.add(pin);
}

/** Throws FormatError when there is no such pin. */
export function removePin({ pins }: KeptMoments, cut: number): void {
  if (!pins.remove(cut)) throw new FormatError(`no pin at ${cut}`);
}

/** Throws FormatError when the horizon would go back, or before the record that moves it. */
export function moveHorizon(kept: KeptMoments, move: HorizonMove, position: number): void {
  const before = kept.horizon?.position ?? -1;
  if (move.position <= before || move.position > position) {
    throw new FormatError(`a horizon moves from ${before} to ${move.position} at ${position}`);
  }
  kept.horizon = { position: move.position, timeMs: move.timeMs, reason: move.reason };
}
