/** The end of `bench day`: everything that must still be there is read and compared with the journals. */
import type { KeptInfo } from '../../src/engine/protocol.ts';
import { isMissing } from './day-errors.ts';
import { faultOfExport, machineMs } from './day-moments.ts';
import type { DaySchedule, DayWorld } from './day-schedule.ts';
import type { DayVolume } from './day-volumes.ts';

export interface CheckPlan {
  /** Snapshots, and kept moments, of all volumes together. */
  readonly snapshotsMax: number;
  readonly momentsMax: number;
}

export interface CheckResult {
  readonly volumesCompared: number;
  readonly snapshotsCompared: number;
  readonly momentsCompared: number;
  /** What the cleaner gave back once more when the load was over, before anything was compared. */
  readonly reclaimedBytes: number;
  readonly blocksVerified: number;
  readonly verifyMs: number;
  readonly faults: readonly string[];
}

/** A pin has the time at which it was decided; what was written until its record was logged is in it, on a busy machine seconds. */
const pinLateMs = 5000;

/** Nothing may be written meanwhile. */
export async function checkDay(
  world: DayWorld,
  schedule: DaySchedule,
  plan: CheckPlan,
): Promise<CheckResult> {
  const { appliance, volumes } = world;
  const faults: string[] = [];
  const note = (fault: string | undefined): void => {
    if (fault !== undefined) faults.push(fault);
  };
  const { reclaimedBytes } = await appliance.call('poolClean', {});
  const startedMs = performance.now();
  const report = await appliance.call('poolVerify', {});
  const verifyMs = performance.now() - startedMs;
  faults.push(...report.faults.map((fault) => `verify: ${fault}`));
  const { findings } = await appliance.call('scrubStatus', {});
  faults.push(...findings.map(({ text }) => `scrub: ${text}`));
  for (const { name, journal } of volumes) {
    const span = journal.now;
    note(await faultOfExport(appliance.nbdSocket, name, { journal, span }));
  }
  let snapshotsCompared = 0;
  for (const { volume, snapshot } of someSnapshots(world, schedule, plan.snapshotsMax)) {
    const { journal } = volume;
    const { name, span } = snapshot;
    const exportName = `${volume.name}@${name}`;
    note(await faultOfExport(appliance.nbdSocket, exportName, { journal, span }));
    snapshotsCompared += 1;
  }
  for (const volume of volumes) note(await listFault(world, schedule, volume));
  let momentsCompared = 0;
  const momentsEach = Math.max(1, Math.floor(plan.momentsMax / volumes.length));
  for (const volume of volumes) {
    const compared = await checkMoments(world, volume, momentsEach, note);
    momentsCompared += compared;
    if (momentsCompared >= plan.momentsMax) break;
  }
  return {
    volumesCompared: volumes.length,
    snapshotsCompared,
    momentsCompared,
    reclaimedBytes,
    blocksVerified: report.blocksChecked,
    verifyMs,
    faults,
  };
}

function someSnapshots(
  { volumes }: DayWorld,
  schedule: DaySchedule,
  countMax: number,
): {
  volume: DayVolume;
  snapshot: { name: string; span: ReturnType<DayVolume['journal']['at']> };
}[] {
  const all = volumes.flatMap((volume) =>
    (schedule.snapshots.get(volume.name) ?? []).map((snapshot) => ({ volume, snapshot })),
  );
  const step = Math.max(1, Math.ceil(all.length / countMax));
  return all.filter((_, index) => index % step === 0);
}

/** What the volume says it has of snapshots, beside what it should. */
async function listFault(
  { appliance }: DayWorld,
  schedule: DaySchedule,
  { name }: DayVolume,
): Promise<string | undefined> {
  const listed = await appliance.call('snapshotList', { volume: name });
  const there = new Set(listed.map((snapshot) => snapshot.name));
  const wanted = new Set((schedule.snapshots.get(name) ?? []).map((snapshot) => snapshot.name));
  for (const snapshot of wanted) if (!there.has(snapshot)) return `${name}@${snapshot} is gone`;
  for (const snapshot of there) {
    const isKnown = wanted.has(snapshot) || schedule.inDoubt.has(`${name}@${snapshot}`);
    if (!isKnown) return `${name}@${snapshot} was deleted, and is there`;
  }
  return undefined;
}

/** Some automatic pins of a volume, each through a view of its own. Returns how many. */
async function checkMoments(
  world: DayWorld,
  volume: DayVolume,
  countMax: number,
  note: (fault: string | undefined) => void,
): Promise<number> {
  const { name } = volume;
  const pins = await keptPins(world, name);
  const step = Math.max(1, Math.ceil(pins.length / countMax));
  let count = 0;
  for (const pin of pins.filter((_, index) => index % step === 0)) {
    try {
      note(await faultOfPin(world, volume, pin));
      count += 1;
    } catch (error) {
      if (!isMissing(error)) throw error;
      // Time goes on: it may have had its time since it was listed, but then it is not listed any more.
      const now = await keptPins(world, name);
      if (now.some(({ position }) => position === pin.position)) note(String(error));
    }
  }
  return count;
}

async function keptPins({ appliance }: DayWorld, name: string): Promise<readonly KeptInfo[]> {
  const kept = await appliance.call('volumeKept', { name });
  return kept.filter(({ kind }) => kind !== 'snapshot');
}

async function faultOfPin(
  { appliance, time }: DayWorld,
  { name, journal }: DayVolume,
  { position, timeMs }: KeptInfo,
): Promise<string | undefined> {
  const span = journal.at(machineMs(time, timeMs), pinLateMs);
  await appliance.call('viewCreate', { source: name, name: 'check', at: `position:${position}` });
  const fault = await faultOfExport(appliance.nbdSocket, 'check', { journal, span });
  await appliance.call('viewDelete', { name: 'check', force: true });
  return fault === undefined ? undefined : `${name} at position ${position}: ${fault}`;
}
