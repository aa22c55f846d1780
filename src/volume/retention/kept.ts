/**
 * Which moments of a volume can be opened: every one from its horizon on, before it those that are pinned.
 *
 *     ──o──────o───S──o────o────┃════════════════════▶       o  automatic pin   S  snapshot
 *       kept, nothing between   ┃ horizon: every moment      (and what the newest rollback left: undo goes back there)
 */
import { ErrorCode, OperationError } from '../../base/errors.ts';
import { formatMomentTime } from '../../base/moment.ts';
import type { VolumeState } from '../catalogue/catalogue.ts';
import type { PinState } from '../catalogue/pin-list.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';

/** A moment that is kept whatever becomes of those beside it. */
export interface KeptMoment {
  readonly kind: 'pin' | 'snapshot' | 'window';
  readonly cut: number;
  readonly timeMs: number;
  /** Names it whenever it is read. */
  readonly label: string;
}

/** Whether the volume's state at `cut` can be opened. Cheap. */
export function isKept(volume: VolumeState, cut: number): boolean {
  const { horizon, pins, history, snapshotByName } = volume;
  if (horizon === undefined || cut >= horizon.position || pins.indexOf(cut) >= 0) return true;
  if (history.findLast(({ leftAt }) => leftAt !== undefined)?.leftAt?.position === cut) return true;
  for (const snapshot of snapshotByName.values()) if (snapshot.cut === cut) return true;
  return false;
}

/** What is kept before the horizon, and the horizon itself, in order; without a horizon everything is kept and this is empty. */
export function keptMoments(volume: VolumeState): KeptMoment[] {
  return momentsOf(volume, volume.pins);
}

function momentsOf(
  { horizon, snapshotByName }: VolumeState,
  pins: Iterable<PinState>,
): KeptMoment[] {
  if (horizon === undefined) return [];
  const found: KeptMoment[] = [{ kind: 'window', cut: horizon.position, ...timeAndLabel(horizon) }];
  for (const pin of pins) {
    if (pin.cut >= horizon.position) break;
    found.push({ kind: 'pin', cut: pin.cut, ...timeAndLabel(pin) });
  }
  for (const { name, cut, createdMs, past } of snapshotByName.values()) {
    if (cut >= horizon.position) continue;
    const timeMs = past === undefined ? createdMs : past.ticks / ticksPerMs;
    found.push({ kind: 'snapshot', cut, timeMs, label: `snapshot:${name}` });
  }
  return found.sort((left, right) => left.cut - right.cut);
}

function timeAndLabel({
  timeMs,
}: {
  readonly timeMs: number;
}): Pick<KeptMoment, 'timeMs' | 'label'> {
  return { timeMs, label: formatMomentTime(timeMs) };
}

/** The refusal of a moment that is not kept: it names those beside it that are. */
export function notKept(volume: VolumeState, label: string, cut: number): OperationError {
  const { pins } = volume;
  const nearest = [pins.before(cut), pins.behind(cut)].filter((pin) => pin !== undefined);
  const kept = momentsOf(volume, nearest);
  const before = kept.findLast((moment) => moment.cut < cut);
  const after = kept.find((moment) => moment.cut > cut);
  const beside = [
    ...(before === undefined ? [] : [`${before.label} before it`]),
    ...(after === undefined ? [] : [`${after.label} behind it`]),
  ];
  return new OperationError(
    ErrorCode.notFound,
    `${volume.name} at ${label} is not kept any more`,
    `Kept are ${beside.join(' and ')}; "tidemark volume history ${volume.name}" lists what is.`,
  );
}
