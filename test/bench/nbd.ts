/** `bench nbd`: tidemark beside other NBD servers, as comparison.ts compares. */
import fs from 'node:fs';
import { freePorts } from '../support/free-ports.ts';
import { benchFolder, compare, makeSource } from './comparison.ts';
import { goals } from './goals.ts';
import { jobs, runJob } from './jobs.ts';
import { type BenchPlace, peers, type Transport } from './peers.ts';
import { tidemarkDurable, tidemarkWriteBack } from './tidemark-server.ts';

export interface NbdBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly transport: Transport;
  /** Connections of the client, for the jobs that fio runs; QD counts per connection then. */
  readonly connections: number;
  /** Folder to measure in; the default is the temporary folder. */
  readonly folder: string;
  /** Only servers whose name contains one of these; empty = all. */
  readonly only: readonly string[];
}

export async function benchNbd(options: NbdBenchOptions): Promise<void> {
  const folder = benchFolder(options.folder);
  const chosen = [tidemarkDurable, tidemarkWriteBack, ...peers].filter(
    (kind) =>
      (options.only.length === 0 || options.only.some((part) => kind.name.includes(part))) &&
      (options.transport !== 'tls' || kind.speaksTls !== false),
  );
  try {
    const source = await makeSource(folder);
    const [port = 0] = await freePorts(1);
    const place: BenchPlace = { folder, source, transport: options.transport, port };
    const { seconds, connections } = options;
    await compare({
      bench: 'nbd',
      works: jobs.map((job) => ({ ...job, tellsCost: job.fio !== undefined })),
      contenders: chosen.map((kind) => ({ ...kind, start: async () => await kind.start(place) })),
      goals,
      rounds: options.rounds,
      run: async (job, server) =>
        await runJob(job, { uri: server.uri, source, seconds, connections }),
      options,
    });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
