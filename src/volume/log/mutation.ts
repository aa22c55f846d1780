/**
 * Mutation: one thing that changes the state of the pool and waits for its place in the log.
 *
 *     data:      one descriptor; WRITE brings a payload of whole blocks
 *                or several that share a frame and bring none (a CLONE with the holes of its source)
 *     catalogue: one or more records that share a frame (all SNAPs of one cut)
 *
 * The log owns it from `append` until `onPublished` (with `fua`: until `onDurable`); then `position` and `address` say where
 * it went. A mutation of a write-back volume is published when it is written, any other when it is durable.
 */
import { assert } from '../../base/assert.ts';
import type { Payload } from '../../device/staging.ts';
import { RecordType } from '../format/frame.ts';

export interface CatalogueEntry {
  readonly type: RecordType;
  /** Line that the record is about; 0 = none. */
  readonly line: number;
  readonly payload: Uint8Array;
}

/** One of several data records without a payload of its own. */
export interface DataPart {
  readonly type: RecordType;
  readonly flags: number;
  readonly lba: number;
  readonly blockCount: number;
  /** CLONE: address of the first block that is shared; else 0. */
  readonly address: number;
}

export class Mutation {
  type: RecordType = RecordType.write;
  flags = 0;
  line = 0;
  /** First 4 KiB block. */
  lba = 0;
  blockCount = 0;
  /** WRITE: whole blocks, from page `firstPage` of the payload on. */
  payload: Payload | undefined = undefined;
  firstPage = 0;
  /** Instead of type, flags, lba and blockCount: several records in one frame. `type` is clone then. */
  parts: readonly DataPart[] | undefined = undefined;
  writer = 0;
  /** Hybrid clock at `append`. */
  ticks = 0;
  /** Publish when written, do not wait for a flush. */
  isWriteBack = false;
  /** With isWriteBack: flush, and say so through `onDurable`. */
  fua = false;
  /** Catalogue records; undefined for data. */
  records: readonly CatalogueEntry[] | undefined = undefined;
  /** Out: position of the first descriptor. */
  position = 0;
  /** Out, WRITE: address of the first block. */
  address = 0;
  /** Runs when the mutation counts, in log order for each line. */
  onPublished: (mutation: Mutation) => void = unset;
  /** Runs after `onPublished`, when a mutation with `isWriteBack` and `fua` is durable. */
  onDurable: (mutation: Mutation) => void = unset;

  get descriptorCount(): number {
    return this.records?.length ?? this.parts?.length ?? 1;
  }

  get dataBlocks(): number {
    return this.type === RecordType.write ? this.blockCount : 0;
  }

  get inlineBytes(): number {
    if (this.records === undefined) return 0;
    let total = 0;
    for (const record of this.records) total += record.payload.length;
    return total;
  }
}

function unset(): void {
  assert(false, 'mutation without owner');
}

/** A mutation of catalogue records. */
export function catalogueMutation(
  records: readonly CatalogueEntry[],
  onPublished: (mutation: Mutation) => void,
): Mutation {
  const mutation = new Mutation();
  mutation.type = records[0]?.type ?? RecordType.pad;
  mutation.records = records;
  mutation.onPublished = onPublished;
  return mutation;
}
