/** The present of every volume and view when the pool is opened. */
import { AckMode } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import type { LogIndex } from '../index/log-index.ts';
import { Line } from '../io/line.ts';
import { BlockMap } from '../map/block-map.ts';
import type { PoolParts } from './parts.ts';

/**
 * Lines of all volumes and views. Those that recovery did not make begin with nothing in memory: a leaf is what the index
 * says of it at `endPosition`, the end of the recovered log, and is made when it is first touched.
 */
export function openHeads(parts: PoolParts, index: LogIndex, endPosition: number): void {
  const { catalogue, lineById, leaves } = parts;
  for (const volume of catalogue.volumes()) {
    let line = lineById.get(volume.line);
    if (line === undefined) {
      const blockCount = volume.sizeBytes / slotSizeBytes;
      const source = index.source(volume.line, endPosition);
      line = new Line(volume.line, new BlockMap(leaves, blockCount, source), blockCount);
      // Which of the records before is the newest of the line, nobody has looked.
      line.lastPosition = endPosition - 1;
      lineById.set(volume.line, line);
    }
    line.isWriteBack = volume.ack === AckMode.writeBack;
  }
}
