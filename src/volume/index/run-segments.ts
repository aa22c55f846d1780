/**
 * The segments that a run was made of, as the bytes of its table: a wide run has hundreds of thousands, an object for each
 * of them takes a hundred MiB and hundreds of milliseconds.
 */
import { viewOf } from '../../base/fields.ts';
import { digestTagBytes } from '../format/segment-rows.ts';
import { type RunSegment, segmentBytes, segmentLayout } from './run-format.ts';

/** Sealed segments of the log, ascending; parallel lists. */
export interface SegmentColumns {
  readonly segIds: ArrayLike<number>;
  readonly epochs: ArrayLike<number>;
  /** The first bytes of the digest of each, `digestTagBytes` of them. */
  readonly tags: Uint8Array;
}

export class RunSegments {
  /** As in the file. */
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** Keeps `bytes`. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = viewOf(bytes);
  }

  static of(segments: readonly RunSegment[]): RunSegments {
    const bytes = new Uint8Array(segments.length * segmentBytes);
    const view = viewOf(bytes);
    segments.forEach((segment, index) => {
      const at = index * segmentBytes;
      segmentLayout.segId.set(view, at, segment.segId);
      segmentLayout.epoch.set(view, at, segment.epoch);
      segmentLayout.endSlot.set(view, at, segment.endSlot);
      segmentLayout.entryCount.set(view, at, segment.entryCount);
      segmentLayout.digest.set(bytes, at, segment.digest);
      segmentLayout.minHlcMs.set(view, at, segment.minHlcMs);
      segmentLayout.maxHlcMs.set(view, at, segment.maxHlcMs);
    });
    return new RunSegments(bytes);
  }

  /** One after the other; a copy. */
  static joined(parts: readonly RunSegments[]): RunSegments {
    return new RunSegments(Buffer.concat(parts.map(({ bytes }) => bytes)));
  }

  get count(): number {
    return this.bytes.length / segmentBytes;
  }

  /** Time of the oldest record in them; undefined = they have none. */
  get oldestMs(): number | undefined {
    let oldestMs = Number.POSITIVE_INFINITY;
    for (let at = 0; at < this.bytes.length; at += segmentBytes) {
      if (segmentLayout.entryCount.get(this.#view, at) === 0) continue;
      oldestMs = Math.min(oldestMs, segmentLayout.minHlcMs.get(this.#view, at));
    }
    return Number.isFinite(oldestMs) ? oldestMs : undefined;
  }

  /** Whether they are exactly those in `columns`, in their order. */
  areThese({ segIds, epochs, tags }: SegmentColumns): boolean {
    if (segIds.length !== this.count) return false;
    const { digest, segId, epoch } = segmentLayout;
    for (let index = 0, at = 0; index < segIds.length; index += 1, at += segmentBytes) {
      if (segId.get(this.#view, at) !== segIds[index]) return false;
      if (epoch.get(this.#view, at) !== epochs[index]) return false;
      const digestAt = at + digest.offset;
      const tagAt = index * digestTagBytes;
      for (let byte = 0; byte < digestTagBytes; byte += 1) {
        if (this.bytes[digestAt + byte] !== tags[tagAt + byte]) return false;
      }
    }
    return true;
  }
}
