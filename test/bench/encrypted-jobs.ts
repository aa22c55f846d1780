/** The jobs over TLS: fio lets libnbd read no certificates, so a script over libnbd does the work, for every server alike. */
import { fileURLToPath } from 'node:url';
import type { Job, JobTarget, Measured } from './jobs.ts';
import { deviceSizeBytes, jobTimeoutMs } from './limits.ts';
import { runTimed } from './timed-run.ts';

const script = fileURLToPath(new URL('encrypted-job.py', import.meta.url));

interface Printed {
  readonly operations: number;
  readonly seconds: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

/** Throws when the client fails. */
export async function runEncrypted(job: Job, target: JobTarget): Promise<Measured> {
  const { blockBytes, depth } = job.io ?? { blockBytes: 4096, depth: 1 };
  const order = {
    write: job.writes,
    blockBytes,
    depth,
    sizeBytes: target.sizeBytes ?? deviceSizeBytes,
    seconds: target.seconds,
    burstBytes: job.burstBytes ?? 0,
  };
  const args = [script, target.uri, JSON.stringify(order)];
  const { stdout, clientSeconds } = await runTimed('/usr/bin/python3', args, jobTimeoutMs);
  const printed = JSON.parse(stdout.slice(0, stdout.indexOf('\n'))) as Printed;
  const { operations, seconds, p50Us, p99Us } = printed;
  const perSecond = operations / seconds;
  const rate = job.unit === 'IO/s' ? perSecond : (perSecond * blockBytes) / (1 << 20);
  return { rate, operations, p50Us, p99Us, clientSeconds, wallSeconds: seconds };
}
