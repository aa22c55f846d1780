/** The records of a sealed segment with their times, in log order. */
import { type FooterEntry, footerEntry, footerFrame } from '../format/footer.ts';
import { ticksPerMs } from '../log/hybrid-clock.ts';
import type { Footer } from '../recovery/segment-source.ts';

/** Calls `visit` with each record of a footer and its time in ticks, until it returns false. */
export function eachFooterRecord(
  { header, bytes }: Footer,
  visit: (entry: FooterEntry, ticks: number) => boolean,
): void {
  let index = 0;
  for (let at = 0; at < header.frameCount; at += 1) {
    const { descriptors, hlcMs } = footerFrame(bytes, header, at);
    const end = Math.min(index + descriptors, header.recordCount);
    for (; index < end; index += 1) {
      const entry = footerEntry(bytes, index);
      if (!visit(entry, hlcMs * ticksPerMs + entry.timeDelta)) return;
    }
  }
}
