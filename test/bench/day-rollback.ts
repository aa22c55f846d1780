/** Rollbacks of `bench day`, while the volume's clients are connected; some are undone. What a restart cuts off happened, or did not. */
import { sleep } from '../support/run.ts';
import type { DayAppliance } from './day-appliance.ts';
import { isCutOff } from './day-errors.ts';
import { readExport } from './day-moments.ts';
import type { Journal, Span } from './day-oracle.ts';
import type { DayVolume } from './day-volumes.ts';

const retryMs = 20;

/** What became of it: `done` of a rollback or an undo that was answered; a fault in what the volume shows afterwards. */
export interface RollbackOutcome {
  readonly isDone: boolean;
  readonly fault: string | undefined;
}

interface Rollback {
  readonly appliance: DayAppliance;
  readonly volume: DayVolume;
  /** Does it; false = it was cut off, and nobody knows. Throws when it was refused. */
  readonly attempt: () => Promise<boolean>;
  /** What the volume may hold afterwards. */
  readonly wanted: Span;
}

/** Rolls the volume back to a moment; its clients wait meanwhile. Throws when it was refused: then nothing has changed. */
export async function rollBack(rollback: Rollback): Promise<RollbackOutcome> {
  const { volume, appliance, attempt, wanted } = rollback;
  const { journal } = volume;
  const before = journal.now;
  journal.issueRollback();
  let after = journal.state(before);
  try {
    const isDone = await attempt();
    const found = await stampsNow(appliance, volume);
    after = found;
    const isAsBefore = !isDone && faultIn(journal, found, before) === undefined;
    const fault = isAsBefore ? undefined : faultIn(journal, found, wanted);
    return { isDone, fault };
  } finally {
    journal.rolledBack(after);
  }
}

function faultIn(journal: Journal, found: Uint32Array, span: Span): string | undefined {
  const state = journal.state(span);
  for (const [block, stamp] of found.entries()) {
    if (stamp === state[block] || journal.mayHold(block, stamp, span)) continue;
    return `block ${block} holds stamp ${stamp} instead of ${state[block]}`;
  }
  return undefined;
}

async function stampsNow(appliance: DayAppliance, volume: DayVolume): Promise<Uint32Array> {
  for (;;) {
    await appliance.whenUp();
    try {
      return await stampsOf(appliance.nbdSocket, volume);
    } catch (error) {
      if (!isCutOff(error) && appliance.isUp) throw error;
      await sleep(retryMs);
    }
  }
}

/** What the whole volume holds. */
async function stampsOf(socketPath: string, { name, journal }: DayVolume): Promise<Uint32Array> {
  const stamps = new Uint32Array(journal.blockCount);
  for await (const { first, data } of readExport(socketPath, name, stamps.length)) {
    stamps.set(journal.stampsOf(data), first);
  }
  return stamps;
}
