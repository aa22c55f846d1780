/** What the keeper is told of a log that was recovered. */
import { positionOf } from '../format/address.ts';
import type { RecoveredLog } from '../keeper-jobs.ts';
import type { KnownLog } from './manifest.ts';
import type { Recovered } from './recover.ts';

/** What the keeper must know to bring the manifest to the recovered state. */
export function recoveredLog(recovered: Recovered, known: KnownLog | undefined): RecoveredLog {
  return {
    endPosition: positionOf(recovered.endAddress, 0),
    isWhole: recovered.readFrom === 0,
    rowsFrom: recovered.readFrom,
    knownPosition: known?.appliedPosition ?? 0,
    records: recordsLacking(recovered, known),
    segments: recovered.sealed,
    epochs: recovered.catalogue.epochs,
  };
}

/** What the manifest has, the keeper need not get: there may be tens of thousands behind the checkpoint. */
function recordsLacking(
  { records, readFrom }: Recovered,
  known: KnownLog | undefined,
): Recovered['records'] {
  if (known === undefined || readFrom === 0) return records;
  // Parts of checkpoints belong together, whatever the manifest has of them.
  return records.filter(
    ({ record, position }) => record.kind === 'checkpoint' || position > known.appliedPosition,
  );
}
