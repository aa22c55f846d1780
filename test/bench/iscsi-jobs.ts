/**
 * The work that every iSCSI target is given, by clients that are nobody's own: iscsi-perf reads for a time, and
 * `qemu-img bench` reads or writes a number of requests, which a short run before it chooses so that it takes about that
 * time. iscsi-perf's random reads begin at any sector, so seven of eight of them touch two blocks of 4 KiB; those of
 * qemu-img are aligned, as those of hosts are.
 */
import type { Work } from './comparison.ts';
import type { Measured } from './jobs.ts';
import { deviceSizeBytes, jobTimeoutMs } from './limits.ts';
import { runTimed } from './timed-run.ts';

export interface IscsiJob extends Work {
  readonly blockBytes: number;
  readonly depth: number;
  readonly isScattered: boolean;
  readonly client: 'iscsi-perf' | 'qemu-img';
}

const sectorBytes = 512;
const mebi = 1 << 20;
/** Requests of the run that finds out how many fit into the wanted time, at each depth. */
const trialRequests = 64;

/**
 * Distance from one scattered write to the next: about the golden part of the device, an odd number of blocks, so that
 * the writes reach every block once before they come back, and neighbours in time are far from each other in place.
 */
const scatterBytes = 162_013 * 4096;

function makeJob(direction: 'read' | 'write', size: '4k' | '1m', depth: number): IscsiJob {
  return {
    name: `${size} ${direction} QD${depth}`,
    unit: size === '4k' ? 'IO/s' : 'MiB/s',
    writes: direction === 'write',
    tellsCost: true,
    blockBytes: size === '4k' ? 4096 : mebi,
    depth,
    isScattered: size === '4k',
    client: direction === 'read' ? 'iscsi-perf' : 'qemu-img',
  };
}

/** The device is full of random data, then read, then overwritten. */
export const iscsiJobs: readonly IscsiJob[] = [
  makeJob('read', '4k', 32),
  { ...makeJob('read', '4k', 32), name: '4k aligned read QD32', client: 'qemu-img' },
  makeJob('read', '4k', 1),
  makeJob('read', '1m', 32),
  makeJob('write', '4k', 32),
  makeJob('write', '4k', 1),
  makeJob('write', '1m', 32),
];

function measuredOf(job: IscsiJob, operations: number, seconds: number, cpu: number): Measured {
  const perSecond = operations / seconds;
  return {
    rate: job.unit === 'IO/s' ? perSecond : (perSecond * job.blockBytes) / mebi,
    operations,
    clientSeconds: cpu,
    wallSeconds: seconds,
  };
}

async function read(job: IscsiJob, uri: string, seconds: number): Promise<Measured> {
  const blocks = String(job.blockBytes / sectorBytes);
  const args = ['-m', String(job.depth), '-b', blocks, '-t', String(seconds)];
  const order = job.isScattered ? ['-r'] : [];
  const result = await runTimed('iscsi-perf', [...args, ...order, uri], jobTimeoutMs);
  // The line of the end comes after a carriage return that overwrote the running figures.
  const perSecond = Number(/\riops average (\d+) /.exec(result.stdout)?.[1]);
  if (!(perSecond > 0)) throw new Error(`iscsi-perf read nothing: ${result.stdout}`);
  return measuredOf(job, perSecond * seconds, seconds, result.clientSeconds);
}

async function benchSome(job: IscsiJob, uri: string, count: number): Promise<Measured> {
  const step = job.isScattered ? scatterBytes : job.blockBytes;
  const result = await runTimed(
    'qemu-img',
    [
      ...['bench', '-f', 'raw', '-t', 'none', ...(job.writes ? ['-w', '--pattern=90'] : [])],
      ...['-d', String(job.depth)],
      ...['-s', String(job.blockBytes), '-S', String(step), '-c', String(count), uri],
    ],
    jobTimeoutMs,
  );
  const seconds = Number(/Run completed in ([\d.]+) seconds/.exec(result.stdout)?.[1]);
  if (!(seconds > 0)) throw new Error(`qemu-img did nothing: ${result.stdout}`);
  return measuredOf(job, count, seconds, result.clientSeconds);
}

async function qemuBench(job: IscsiJob, uri: string, seconds: number): Promise<Measured> {
  const trial = await benchSome(job, uri, trialRequests * job.depth);
  const count = Math.ceil((trial.operations / trial.wallSeconds) * seconds);
  const measured = await benchSome(job, uri, Math.max(count, trialRequests));
  // The trial ran in the same stretch of time, so its processor time is charged too, and its operations counted.
  const operations = measured.operations + trial.operations;
  const clientSeconds = measured.clientSeconds + trial.clientSeconds;
  return { ...measured, operations, clientSeconds };
}

/** Runs one job on the unit that `uri` names; its size is the bench's. */
export async function runIscsiJob(job: IscsiJob, uri: string, seconds: number): Promise<Measured> {
  if (deviceSizeBytes % job.blockBytes !== 0) throw new Error(`${job.name} does not fit`);
  return job.client === 'qemu-img'
    ? await qemuBench(job, uri, seconds)
    : await read(job, uri, seconds);
}
