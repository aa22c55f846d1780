/** The work that every server is given, and how one piece of it is measured. */
import fs from 'node:fs';
import path from 'node:path';
import { run } from '../support/run.ts';
import { runEncrypted } from './encrypted-jobs.ts';
import { deviceSizeBytes, jobTimeoutMs } from './limits.ts';
import { runTimed } from './timed-run.ts';

export interface Job {
  readonly name: string;
  readonly unit: 'IO/s' | 'MiB/s';
  readonly writes: boolean;
  /** Arguments of fio; absent for nbdcopy. */
  readonly fio?: readonly string[];
  /** The same for other clients; absent for nbdcopy. */
  readonly io?: { readonly blockBytes: number; readonly depth: number };
  /** Ends after this many bytes; otherwise fio jobs end after the time that the run gives them. */
  readonly burstBytes?: number;
  readonly copy?: 'in' | 'out';
}

const mebi = 1 << 20;

function fioJob(name: string, direction: 'read' | 'write', size: '4k' | '1m', depth: number): Job {
  const mode = size === '4k' ? `rand${direction}` : direction;
  return {
    name,
    unit: size === '4k' ? 'IO/s' : 'MiB/s',
    writes: direction === 'write',
    fio: [`--rw=${mode}`, `--bs=${size}`, `--iodepth=${depth}`],
    io: { blockBytes: size === '4k' ? 4096 : mebi, depth },
  };
}

/**
 * In this order: the device is full of random data, then read, then overwritten. It is read whole before it is read at random:
 * tidemark writes past the page cache, so what was just written comes from the disk the first time. The burst fits into the segments that
 * tidemark keeps prepared; the long 1 MiB job runs out of them after a moment.
 */
export const jobs: readonly Job[] = [
  { name: 'copy in', unit: 'MiB/s', writes: true, copy: 'in' },
  { name: 'copy out', unit: 'MiB/s', writes: false, copy: 'out' },
  fioJob('4k read QD32', 'read', '4k', 32),
  fioJob('4k read QD1', 'read', '4k', 1),
  fioJob('1m read QD4', 'read', '1m', 4),
  fioJob('4k write QD32', 'write', '4k', 32),
  fioJob('4k write QD1', 'write', '4k', 1),
  { ...fioJob('1m write burst', 'write', '1m', 4), burstBytes: 192 << 20 },
  fioJob('1m write QD4', 'write', '1m', 4),
];

export interface JobTarget {
  readonly uri: string;
  /** File to copy in. */
  readonly source: string;
  readonly seconds: number;
  /** Bytes of the device that are touched; absent = all of the bench's device. */
  readonly sizeBytes?: number;
  /** Connections that fio makes; absent = 1. */
  readonly connections?: number;
}

export interface Measured {
  /** In the job's unit. */
  readonly rate: number;
  readonly operations: number;
  /** Latency in microseconds; fio only. */
  readonly p50Us?: number;
  readonly p99Us?: number;
  /** Processor seconds that the client used. */
  readonly clientSeconds: number;
  readonly wallSeconds: number;
}

/** The part of fio's JSON that is read here. */
interface FioSide {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly total_ios: number;
  readonly runtime: number;
  readonly clat_ns: { readonly percentile?: Readonly<Record<string, number>> };
}

interface FioOutput {
  readonly jobs: readonly [
    {
      readonly read: FioSide;
      readonly write: FioSide;
      readonly usr_cpu: number;
      readonly sys_cpu: number;
    },
  ];
}

function lengthOf(job: Job, target: JobTarget): readonly string[] {
  if (job.burstBytes !== undefined) return [`--io_size=${job.burstBytes}`];
  return ['--time_based', `--runtime=${target.seconds}s`];
}

async function runFio(job: Job, args: readonly string[], target: JobTarget): Promise<Measured> {
  const result = await run(
    'fio',
    [
      ...['--name=job', '--ioengine=nbd', `--uri=${target.uri}`, '--output-format=json'],
      ...[`--size=${target.sizeBytes ?? deviceSizeBytes}`, ...lengthOf(job, target)],
      ...['--norandommap', '--randrepeat=0', ...args],
      ...[`--numjobs=${target.connections ?? 1}`, '--group_reporting'],
    ],
    { timeoutMs: jobTimeoutMs },
  );
  // fio prints notes before its JSON.
  const json = result.stdout.slice(result.stdout.indexOf('{'));
  const [outcome] = (JSON.parse(json) as FioOutput).jobs;
  const side = job.writes ? outcome.write : outcome.read;
  // fio reports error 0 when it never connected; no I/O at all is the sign.
  if (side.total_ios === 0) throw new Error(`fio did no I/O: ${result.stdout}${result.stderr}`);
  const wallSeconds = side.runtime / 1000;
  return {
    rate: job.unit === 'IO/s' ? side.iops : side.bw_bytes / mebi,
    operations: side.total_ios,
    p50Us: (side.clat_ns.percentile?.['50.000000'] ?? 0) / 1000,
    p99Us: (side.clat_ns.percentile?.['99.000000'] ?? 0) / 1000,
    clientSeconds: ((outcome.usr_cpu + outcome.sys_cpu) / 100) * wallSeconds,
    wallSeconds,
  };
}

async function runCopy(direction: 'in' | 'out', target: JobTarget): Promise<Measured> {
  const [from, to] = direction === 'in' ? [target.source, target.uri] : [target.uri, 'null:'];
  const args = ['--connections=1', '--flush', '--no-extents', from, to];
  const { clientSeconds, wallSeconds } = await runTimed('nbdcopy', args, jobTimeoutMs);
  const sizeBytes = fs.statSync(path.resolve(target.source)).size;
  const operations = Math.ceil(sizeBytes / 262_144);
  return { rate: sizeBytes / mebi / wallSeconds, operations, clientSeconds, wallSeconds };
}

export async function runJob(job: Job, target: JobTarget): Promise<Measured> {
  if (job.copy !== undefined) return await runCopy(job.copy, target);
  if (target.uri.startsWith('nbds:')) return await runEncrypted(job, target);
  return await runFio(job, job.fio ?? [], target);
}
