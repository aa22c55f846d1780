/** `bench iscsi`: tidemark beside tgt, as comparison.ts compares. */
import fs from 'node:fs';
import { benchFolder, compare, makeSource } from './comparison.ts';
import { iscsiGoals } from './goals.ts';
import { iscsiJobs, runIscsiJob } from './iscsi-jobs.ts';
import { iscsiContenders } from './iscsi-servers.ts';

export interface IscsiBenchOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** Folder to measure in; the default is the temporary folder. */
  readonly folder: string;
  /** Only targets whose name contains one of these; empty = all. */
  readonly only: readonly string[];
}

export async function benchIscsi(options: IscsiBenchOptions): Promise<void> {
  const folder = benchFolder(options.folder);
  try {
    const contenders = iscsiContenders({ folder, source: await makeSource(folder) });
    const { only, rounds, seconds } = options;
    await compare({
      bench: 'iscsi',
      works: iscsiJobs,
      contenders: contenders.filter(
        ({ name }) => only.length === 0 || only.some((part) => name.includes(part)),
      ),
      goals: iscsiGoals,
      rounds,
      run: async (job, server) => await runIscsiJob(job, server.uri, seconds),
      options,
    });
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}
