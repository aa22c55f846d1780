/**
 * Who holds shared memory while others wait for some, and does not move, is dropped: no client can slow down another for long.
 */

export interface MemoryHolder {
  /** Grows whenever it moves in a way that gives shared memory back. */
  readonly progress: number;
  /** Memory for data lies here and waits for bytes of the client. */
  readonly holdsData: boolean;
  /** Output memory lies here and waits for the client to take it. */
  readonly holdsOutput: boolean;
  /** Notes of `dropStalled`: the progress that was seen last, and looks since then. */
  readonly stall: { progress: number; looks: number };
  /** It has been too slow. */
  onBreach(reason: string): void;
}

/** Looks at all holders once; drops those that moved nothing for `looksMax` looks while they held what is crowded. */
export function dropStalled(
  holders: Iterable<MemoryHolder>,
  crowded: { readonly data: boolean; readonly output: boolean },
  looksMax: number,
): void {
  for (const holder of holders) {
    const { stall, progress } = holder;
    const isHolder = (crowded.data && holder.holdsData) || (crowded.output && holder.holdsOutput);
    if (!isHolder || stall.progress !== progress) {
      stall.progress = progress;
      stall.looks = 0;
      continue;
    }
    stall.looks += 1;
    if (stall.looks >= looksMax) {
      holder.onBreach('it held memory that others wait for, and did not move');
    }
  }
}
