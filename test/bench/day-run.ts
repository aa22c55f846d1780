/**
 * `bench day`: a day of a busy appliance, in an hour or less. The engine is that of production, in a process of its own, on a
 * clock that goes faster (`day-engine.ts`); load, schedules and the oracle are here.
 *
 *     make volumes ─▶ fill ─▶ ┌ load: paced reads, writes, trims (day-load.ts), over NBD and iSCSI         ┐ ─▶ verify and compare
 *                             ├ schedule: snapshots, views, rollbacks, clones, restarts (day-schedule.ts) │    ─▶ open again, compare
 *                             └ samples every few seconds (day-samples.ts)                                ┘
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DayAppliance } from './day-appliance.ts';
import { type CheckResult, checkDay } from './day-check.ts';
import type { DayTime } from './day-clock.ts';
import type { DayDisk } from './day-disk.ts';
import { DayHost, IscsiDisk, iscsiWanted } from './day-iscsi.ts';
import { DayLoad, type LoadRates } from './day-load.ts';
import { faultOfExport } from './day-moments.ts';
import { NbdSession } from './day-nbd.ts';
import { blockBytes, Journal } from './day-oracle.ts';
import { type DaySample, DaySampler } from './day-samples.ts';
import { DaySchedule, type DayWorld, type ScheduleCounts } from './day-schedule.ts';
import { DayTotals, DayVolume } from './day-volumes.ts';

export interface DayOptions {
  readonly minutes: number;
  readonly hours: number;
  readonly volumes: number;
  /** So many hosts have some of the volumes as LUNs; all others are used over NBD. */
  readonly iscsiHosts: number;
  readonly volumeBytes: number;
  readonly poolBytes: number;
  readonly segmentSlots: number;
  /** Written before the load begins, as a part of the pool. */
  readonly fillShare: number;
  readonly rates: LoadRates;
  readonly sampleMs: number;
  /** By the appliance. */
  readonly snapshotEveryMs: number;
  readonly snapshotsKept: number;
  readonly restarts: number;
  readonly comparedMax: number;
  /** Where the pool lies meanwhile; it is removed. */
  readonly folder: string;
  readonly profileFolder?: string;
}

export interface DayResult {
  readonly options: DayOptions;
  readonly samples: readonly DaySample[];
  readonly totals: DayTotals;
  readonly counts: ScheduleCounts;
  readonly restartMs: readonly number[];
  readonly check: CheckResult;
}

const hourMs = 3_600_000;
const minuteMs = 60_000;
const fillBlocks = 64;
const atOnce = 8;
/** Every so many-th volume is a LUN; odd, so that volumes of every kind are among them. */
const iscsiEvery = 5;
const lookMs = 20;
/** A day in which not everything has happened yet is made longer by this factor at most. */
const longerMax = 3;
/** Half of the volumes keep their past as any volume does, half of them a short one: what they overwrite dies soon. */
const shortPolicy = 'all:5m,1m:30m,1h:6h';

/** Throws when the appliance, or what it holds, is not as it should be; nothing is left behind either way. */
export async function runDay(options: DayOptions): Promise<DayResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, 'tidemark-day-'));
  const speed = (options.hours * hourMs) / (options.minutes * minuteMs);
  const nowMs = Date.now();
  const time: DayTime = {
    originMs: nowMs,
    originWallMs: nowMs - options.hours * hourMs,
    speed,
  };
  const totals = new DayTotals();
  const late: { sampler?: DaySampler } = {};
  const appliance = new DayAppliance({
    folder,
    time,
    poolBytes: options.poolBytes,
    segmentSlots: options.segmentSlots,
    sampleMs: options.sampleMs,
    ...(options.profileFolder === undefined ? {} : { profileFolder: options.profileFolder }),
    onSample: (sample) => {
      void late.sampler?.take(sample);
    },
  });
  try {
    await appliance.start();
    const load = new DayLoad(options.rates, () => appliance.isUp);
    const { volumes, hosts } = await makeVolumes(appliance, totals, options);
    const world: DayWorld = { appliance, time, load, totals, volumes };
    await fill(volumes, options);
    totals.reads.take();
    totals.writes.take();
    late.sampler = new DaySampler(appliance, totals);
    for (const volume of volumes) load.add(volume);
    const schedule = new DaySchedule(world, schedulePlan(options));
    await runBoth(load, schedule, options.minutes * minuteMs);
    const { samples } = late.sampler;
    delete late.sampler;
    const check = await checkAll(world, schedule, options);
    for (const host of hosts) await host.close();
    if (appliance.fault !== undefined) totals.fault(appliance.fault);
    for (const line of appliance.errors()) totals.fault(line);
    const { counts, restartMs } = schedule;
    return { options, samples, totals, counts, restartMs, check };
  } catch (error) {
    console.error(appliance.lastWords());
    throw error;
  } finally {
    await appliance.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** What is compared after a clean stop and a start comes from the disk, not from what was in memory. */
async function checkAll(
  world: DayWorld,
  schedule: DaySchedule,
  { comparedMax }: DayOptions,
): Promise<CheckResult> {
  const { appliance, volumes } = world;
  const plan = { snapshotsMax: comparedMax, momentsMax: comparedMax };
  const check = await checkDay(world, schedule, plan);
  await appliance.stop();
  await appliance.start();
  const faults = [...check.faults];
  for (const { name, journal } of volumes) {
    const span = journal.now;
    const fault = await faultOfExport(appliance.nbdSocket, name, { journal, span });
    if (fault !== undefined) faults.push(`after opening again: ${fault}`);
  }
  return { ...check, faults };
}

async function makeVolumes(
  appliance: DayAppliance,
  totals: DayTotals,
  { volumes, volumeBytes, iscsiHosts }: DayOptions,
): Promise<{ volumes: DayVolume[]; hosts: DayHost[] }> {
  const made: DayVolume[] = [];
  const hosts: DayHost[] = [];
  const lunsByHost: string[][] = [];
  for (let host = 0; host < iscsiHosts; host += 1) {
    hosts.push(new DayHost(host, () => appliance.iscsiPort));
    lunsByHost.push([]);
  }
  for (let index = 0; index < volumes; index += 1) {
    const name = `vol${String(index).padStart(3, '0')}`;
    const policy = index % 2 === 0 ? {} : { cdpPolicy: shortPolicy };
    const { uuid } = await appliance.call('volumeCreate', {
      name,
      sizeBytes: volumeBytes,
      ...policy,
    });
    const number = index % iscsiEvery === 0 ? (index / iscsiEvery) % iscsiHosts : Number.NaN;
    const host = hosts[number];
    const lun = (lunsByHost[number]?.push(uuid) ?? 0) - 1;
    const connect = async (): Promise<DayDisk> =>
      host === undefined
        ? await NbdSession.open(appliance.nbdSocket, name)
        : new IscsiDisk(await host.session(), lun);
    const journal = Journal.empty(volumeBytes / blockBytes);
    made.push(new DayVolume({ name, journal, appliance, totals, connect }));
  }
  await appliance.serveIscsi(iscsiWanted(lunsByHost));
  return { volumes: made, hosts };
}

/**
 * Every volume gets its part of what is written beforehand, from its first block on; those with a short past twice: soon the
 * first half of it is garbage, and the cleaner has work from the beginning.
 */
async function fill(
  volumes: readonly DayVolume[],
  { poolBytes, fillShare, volumeBytes }: DayOptions,
): Promise<void> {
  const eachBytes = Math.min(volumeBytes, (poolBytes * fillShare) / volumes.length);
  const blocks = Math.floor(eachBytes / blockBytes / fillBlocks) * fillBlocks;
  const once = async (some: readonly DayVolume[]): Promise<void> => {
    const waiting = [...some];
    const lane = async (): Promise<void> => {
      for (let volume = waiting.pop(); volume !== undefined; volume = waiting.pop()) {
        for (let first = 0; first < blocks; first += fillBlocks) {
          await volume.write({ first, count: fillBlocks }, false);
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, lane));
  };
  await once(volumes);
  await once(volumes.filter((_, index) => index % 2 === 1));
}

async function runBoth(load: DayLoad, schedule: DaySchedule, lengthMs: number): Promise<void> {
  const stop = (): void => {
    load.stop();
    schedule.stop();
  };
  const beganMs = performance.now();
  const timer = setInterval(() => {
    const passedMs = performance.now() - beganMs;
    if (passedMs >= lengthMs && (schedule.hasDoneAll || passedMs >= lengthMs * longerMax)) stop();
  }, lookMs);
  // Whoever fails first ends the other, too.
  const ended = async (part: { run(): Promise<void> }): Promise<void> => {
    await part.run().finally(stop);
  };
  const outcomes = await Promise.allSettled([ended(load), ended(schedule)]);
  clearInterval(timer);
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
}

function schedulePlan({
  minutes,
  snapshotEveryMs,
  snapshotsKept,
  restarts,
}: DayOptions): ConstructorParameters<typeof DaySchedule>[1] {
  const lengthMs = minutes * minuteMs;
  return {
    snapshotEveryMs,
    snapshotsKept,
    viewPauseMs: lengthMs / 400,
    diffPauseMs: lengthMs / 400,
    rollbackPauseMs: lengthMs / 200,
    clonePauseMs: lengthMs / 60,
    cloneLifeMs: lengthMs / 60,
    reportPauseMs: lengthMs / 10,
    restartsMs: Array.from(
      { length: restarts },
      (_, index) => ((index + 1) * lengthMs) / (restarts + 1),
    ),
  };
}

/** The form that the lead of a release runs; shorter ones take parts of it. */
export const longDay: Omit<DayOptions, 'minutes' | 'hours' | 'volumes' | 'poolBytes'> = {
  iscsiHosts: 4,
  volumeBytes: 32 * 2 ** 20,
  segmentSlots: 8192,
  fillShare: 0.55,
  rates: { writesPerSecond: 400, readsPerSecond: 400 },
  sampleMs: 2000,
  snapshotEveryMs: hourMs / 2,
  snapshotsKept: 12,
  restarts: 5,
  comparedMax: 400,
  folder: os.tmpdir(),
};
