/** `bench nbd`: tidemark beside other NBD servers, as comparison.ts compares. */
import fs from 'node:fs';
import { freePorts } from '../support/free-ports.ts';
import { benchFolder, compare, makeSource } from './comparison.ts';
import { goals } from './goals.ts';
import { jobs, runJob } from './jobs.ts';
import { type BenchPlace, peers } from './peers.ts';
import { tidemarkServer } from './tidemark-server.ts';

export interface NbdBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly isTcp: boolean;
  /** Folder to measure in; the default is the temporary folder. */
  readonly folder: string;
  /** Only servers whose name contains one of these; empty = all. */
  readonly only: readonly string[];
}

export async function benchNbd(options: NbdBenchOptions): Promise<void> {
  const folder = benchFolder(options.folder);
  const chosen = [tidemarkServer, ...peers].filter(
    (kind) => options.only.length === 0 || options.only.some((part) => kind.name.includes(part)),
  );
  try {
    const source = await makeSource(folder);
    const [port = 0] = await freePorts(1);
    const place: BenchPlace = { folder, source, isTcp: options.isTcp, port };
    const { seconds } = options;
    await compare({
      bench: 'nbd',
      works: jobs.map((job) => ({ ...job, tellsCost: job.fio !== undefined })),
      contenders: chosen.map((kind) => ({ ...kind, start: async () => await kind.start(place) })),
      goals,
      ours: tidemarkServer.name,
      rounds: options.rounds,
      run: async (job, server) => await runJob(job, { uri: server.uri, source, seconds }),
      options,
    });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
