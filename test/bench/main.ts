/** Entry of `npm run bench`: reads what to measure from the command line. */
import os from 'node:os';
import { parseArgs } from 'node:util';
import { benchCleaner } from './cleaner.ts';
import { benchDay } from './day.ts';
import { benchFlame } from './flame.ts';
import { benchIscsi } from './iscsi.ts';
import { benchMark } from './mark.ts';
import { benchNbd } from './nbd.ts';
import type { Transport } from './peers.ts';
import { benchReads } from './reads.ts';
import { benchRecovery } from './recovery.ts';
import { benchScale } from './scale.ts';
import { benchSegments } from './segments.ts';
import { benchSnapshots } from './snapshots.ts';
import { compareSuites } from './suites.ts';

const usage = `usage: npm run bench -- nbd|iscsi|suites|snapshots|recovery|reads|mark|segments|cleaner|scale|day|flame [options]

  nbd              beside nbdkit, qemu-nbd and nbd-server, with the ratios to the goals
  iscsi            beside tgt with its write cache on and off
  suites           libiscsi's test suites on tidemark and on tgt, as a table
  snapshots        what 10,000 snapshots of one volume cost
  recovery         time and memory to open a pool after kill -9, per GiB of log
  reads            CPU of reads with and without the check of each block's checksum
  mark             time and memory of a pass that finds out which blocks can be reached, per GiB of log
  cleaner          write amplification of a real pool's cleaner, beside the reference
  flame            flame graphs of the engine during one job of nbd
  scale            opening and old moments of pools with the segments and the index of 1 and 10 TiB of log
  day              a day of 200 busy volumes in an hour: delays, memory, latencies over time; everything compared at the end
  segments         durable writes with and without prepared segments

  --rounds N       rounds, of which the median counts (default 3)
  --seconds N      length of each fio job (default 2)
  --count N        snapshots (default 10000)
  --blocks N       cleaner: blocks of the volume (default 65536)
  --fill A,B       cleaner: which parts of the log live (default 0.6,0.8,0.9)
  --log-gib N      GiB of log for recovery and mark (default 2)
  --transport T    nbd: unix (default), tcp or tls
  --job NAME       flame: the job (default: 4k write QD32)
  --connections N  nbd: connections of the client for the jobs of fio (default 1)
  --only A,B       only servers (cleaner: workloads) whose name contains A or B
  --minutes N      day: how long it takes (default 60)
  --hours N        day: how much time goes by meanwhile (default 24)
  --volumes N      day: how many (default 200)
  --pool-gib N     day: capacity of the pool (default 8)
  --restarts N     day: kills and clean stops of the engine (default 5)
  --profile DIR    day: processor profiles of engines that were not killed
  --docs           day: the plots go to docs/day, too
  --folder DIR     where to measure (default: the temporary folder)
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    count: { type: 'string', default: '10000' },
    blocks: { type: 'string', default: '65536' },
    fill: { type: 'string', default: '0.6,0.8,0.9' },
    'log-gib': { type: 'string', default: '2' },
    transport: { type: 'string', default: 'unix' },
    job: { type: 'string', default: '4k write QD32' },
    connections: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '60' },
    hours: { type: 'string', default: '24' },
    volumes: { type: 'string', default: '200' },
    'pool-gib': { type: 'string', default: '8' },
    restarts: { type: 'string', default: '5' },
    profile: { type: 'string' },
    docs: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    folder: { type: 'string', default: os.tmpdir() },
    help: { type: 'boolean', default: false },
  },
});

const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

function transportOf(text: string): Transport {
  if (text === 'unix' || text === 'tcp' || text === 'tls') return text;
  throw new Error(`--transport ${text}: choose unix, tcp or tls`);
}

const benches: Readonly<Record<string, () => Promise<void>>> = {
  nbd: async () => {
    const only = values.only === '' ? [] : values.only.split(',');
    const transport = transportOf(values.transport);
    const connections = Number(values.connections);
    await benchNbd({ rounds, seconds, transport, connections, folder: values.folder, only });
  },
  iscsi: async () => {
    const only = values.only === '' ? [] : values.only.split(',');
    await benchIscsi({ rounds, seconds, folder: values.folder, only });
  },
  suites: async () => {
    await compareSuites(values.only === '' ? [] : values.only.split(','));
  },
  snapshots: async () => {
    await benchSnapshots({ count: Number(values.count), rounds, seconds });
  },
  recovery: async () => {
    await benchRecovery({ rounds, logGiB: Number(values['log-gib']) });
  },
  reads: async () => {
    await benchReads({ rounds, folder: values.folder });
  },
  mark: async () => {
    await benchMark({ rounds, logGiB: Number(values['log-gib']), folder: values.folder });
  },
  cleaner: async () => {
    await Promise.resolve();
    const only = values.only === '' ? [] : values.only.split(',');
    const fills = values.fill.split(',').map(Number);
    benchCleaner({ blockCount: Number(values.blocks), only, fills });
  },
  flame: async () => {
    await benchFlame({ seconds, folder: values.folder, job: values.job });
  },
  scale: async () => {
    await benchScale({ rounds, count: Number(values.count), folder: values.folder });
  },
  day: async () => {
    await benchDay({
      minutes: Number(values.minutes),
      hours: Number(values.hours),
      volumes: Number(values.volumes),
      poolBytes: Number(values['pool-gib']) * 2 ** 30,
      restarts: Number(values.restarts),
      folder: values.folder,
      isForDocs: values.docs,
      ...(values.profile === undefined ? {} : { profileFolder: values.profile }),
    });
  },
  segments: async () => {
    await benchSegments({ rounds, seconds });
  },
};

const bench = benches[positionals[0] ?? ''];
if (bench !== undefined && !values.help) {
  await bench();
} else {
  console.log(usage);
  process.exitCode = values.help ? 0 : 2;
}
