/**
 * Checkpoint: the whole catalogue as one text, cut into CHECKPOINT records. Logged at least once per GiB of log, so that
 * older segments can be given back later; until then a rebuild compares it with what replay has reached there.
 */
import { toHex } from '../../base/uuid.ts';
import { limits } from '../limits.ts';
import type { Catalogue, SnapshotState, VolumeState } from './catalogue.ts';
import type { CatalogueRecord, CheckpointPart } from './records.ts';

/** Canonical text of a catalogue: equal catalogues give equal texts. */
export function catalogueText(catalogue: Catalogue): string {
  return JSON.stringify({
    version: 1,
    lines: catalogue.lines(),
    volumes: catalogue.volumes().map(volumeShape),
    epochs: catalogue.epochs.map((epoch) => ({
      epoch: epoch.epoch,
      openId: toHex(epoch.openId),
      nodeUuid: toHex(epoch.nodeUuid),
      startPosition: epoch.startPosition,
    })),
  });
}

function volumeShape(volume: VolumeState): unknown {
  return {
    uuid: toHex(volume.uuid),
    name: volume.name,
    line: volume.line,
    sizeBytes: volume.sizeBytes,
    naa: toHex(volume.naa),
    serial: volume.serial,
    ack: volume.ack,
    createdMs: volume.createdMs,
    createdPosition: volume.createdPosition,
    // Left out when there is none: checkpoints from before there were such states stay equal.
    ...(volume.luState === undefined ? {} : { luState: toHex(volume.luState) }),
    view:
      volume.view === undefined
        ? null
        : { source: toHex(volume.view.sourceUuid), label: volume.view.label },
    history: volume.history.map((span) => ({ ...span, leftAt: span.leftAt ?? null })),
    snapshots: [...volume.snapshotByName.values()].sort(byCut).map(snapshotShape),
  };
}

function snapshotShape(snapshot: SnapshotState): unknown {
  return {
    uuid: toHex(snapshot.uuid),
    name: snapshot.name,
    line: snapshot.line,
    cut: snapshot.cut,
    createdMs: snapshot.createdMs,
    sizeBytes: snapshot.sizeBytes,
    ...(snapshot.past === undefined
      ? {}
      : { momentTicks: snapshot.past.ticks, label: snapshot.past.label }),
  };
}

function byCut(left: SnapshotState, right: SnapshotState): number {
  return left.cut - right.cut || (left.name < right.name ? -1 : 1);
}

/** The catalogue as records, to be logged one behind the other. */
export function checkpointParts(catalogue: Catalogue): CheckpointPart[] {
  const bytes = new TextEncoder().encode(catalogueText(catalogue));
  const partCount = Math.ceil(bytes.length / limits.checkpointPartBytes);
  return Array.from({ length: partCount }, (_, part) => ({
    kind: 'checkpoint' as const,
    part,
    partCount,
    bytes: bytes.slice(part * limits.checkpointPartBytes, (part + 1) * limits.checkpointPartBytes),
  }));
}

/** Compares the checkpoints of a log with the catalogue that replay has reached; feed it every record, in order. */
export class CheckpointAudit {
  #parts: CheckpointPart[] = [];

  /** `catalogue` is as it is behind `record`. Answers whether a checkpoint ended here and says something else. */
  contradicts(record: CatalogueRecord, catalogue: Catalogue): boolean {
    if (record.kind !== 'checkpoint') {
      this.#parts = [];
      return false;
    }
    // A checkpoint that a crash cut short is followed by another record, or by part 0 of the next.
    if (record.part !== this.#parts.length) this.#parts = [];
    if (record.part !== this.#parts.length) return false;
    this.#parts.push(record);
    if (this.#parts.length < record.partCount) return false;
    const decoder = new TextDecoder();
    let text = '';
    for (const part of this.#parts) text += decoder.decode(part.bytes, { stream: true });
    this.#parts = [];
    return text + decoder.decode() !== catalogueText(catalogue);
  }
}
