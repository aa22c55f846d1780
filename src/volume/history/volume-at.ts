/** Which line a volume was in before a position of the log, and how large: its history, followed over rollbacks. */
import type { Catalogue, LineState, VolumeState } from '../catalogue/catalogue.ts';
import type { Moment } from '../core/moment-maps.ts';

/** Undefined when the volume did not exist yet. */
export function volumeAt(
  catalogue: Catalogue,
  volume: VolumeState,
  cut: number,
): Moment | undefined {
  const span = volume.history.findLast(({ fromPosition }) => fromPosition < cut);
  if (span === undefined) return undefined;
  return { line: span.line, cut, sizeBytes: sizeBefore(catalogue.line(span.line), cut) };
}

/** Size of a line before a position, in bytes. */
export function sizeBefore(line: LineState, cut: number): number {
  return line.resizes.findLast(({ position }) => position < cut)?.sizeBytes ?? line.sizeBytes;
}
