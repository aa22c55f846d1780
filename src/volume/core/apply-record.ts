/** A catalogue record that was just published: brings it into the catalogue and into the lines that are open. */
import { present } from '../../base/assert.ts';
import type { Catalogue, VolumeState } from '../catalogue/catalogue.ts';
import { AckMode, type CatalogueRecord } from '../catalogue/records.ts';
import { slotSizeBytes } from '../format/address.ts';
import { Line } from '../io/line.ts';
import { BlockMap } from '../map/block-map.ts';
import type { LeafStore } from '../map/leaf-store.ts';

/** What catalogue records change. */
export interface LiveState {
  readonly catalogue: Catalogue;
  readonly lineById: Map<number, Line>;
  readonly leaves: LeafStore;
}

/** `forked`: for VIEW and REVERT, the map that the new line begins with; this call takes it over. */
export function applyRecord(
  record: CatalogueRecord,
  position: number,
  state: LiveState,
  forked?: BlockMap,
): void {
  const { catalogue, lineById } = state;
  const leftLine = record.kind === 'revert' ? catalogue.volumeById(record.uuid)?.line : undefined;
  catalogue.apply(record, position);
  applyToLines(record, position, state, forked);
  if (leftLine !== undefined) end(lineById, leftLine);
  if ('uuid' in record) setAck(catalogue.volumeById(record.uuid), lineById);
}

function applyToLines(
  record: CatalogueRecord,
  position: number,
  { lineById, leaves }: LiveState,
  forked: BlockMap | undefined,
): void {
  if (record.kind === 'vol-create') {
    begin(lineById, record, position, new BlockMap(leaves, record.sizeBytes / slotSizeBytes));
  } else if (record.kind === 'view' || record.kind === 'revert') {
    begin(lineById, record, position, present(forked, 'map of a new line'));
  } else if (record.kind === 'vol-resize') {
    const line = present(lineById.get(record.line), 'line of a volume');
    line.map.changedAt = position;
    line.resize(record.sizeBytes / slotSizeBytes);
    // Write-back writes behind it may be published already.
    line.lastPosition = Math.max(line.lastPosition, position);
  } else if (record.kind === 'vol-delete') {
    end(lineById, record.line);
  }
}

/** Lines answer as their volume says. */
function setAck(volume: VolumeState | undefined, lineById: Map<number, Line>): void {
  const line = volume === undefined ? undefined : lineById.get(volume.line);
  if (line !== undefined) line.isWriteBack = volume?.ack === AckMode.writeBack;
}

function begin(
  lineById: Map<number, Line>,
  record: { readonly line: number; readonly sizeBytes: number },
  position: number,
  map: BlockMap,
): void {
  const blockCount = record.sizeBytes / slotSizeBytes;
  map.resize(blockCount);
  const line = new Line(record.line, map, blockCount);
  line.lastPosition = position;
  lineById.set(record.line, line);
}

function end(lineById: Map<number, Line>, id: number): void {
  const line = lineById.get(id);
  if (line === undefined) return;
  line.isGone = true;
  line.map.release();
  lineById.delete(id);
}
