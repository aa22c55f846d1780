/**
 * `bench flame`: where the engine's time goes during one job, as a flame graph (SVG) of each of its threads.
 *
 *     fio ──NBD──▶ engine under V8's sampling profiler ──▶ *.cpuprofile ──▶ stacks ──▶ out/flame-JOB-THREAD.svg
 *
 * Width = share of samples; time in which a thread waits is left out.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Appliance } from '../support/appliance.ts';
import { benchFolder } from './comparison.ts';
import { drawFlames, type Profile, stacksOf } from './flame-graph.ts';
import { type Job, jobs, runJob } from './jobs.ts';
import { preTouch } from './measure.ts';
import { segmentsReady } from './tidemark-server.ts';

export interface FlameOptions {
  readonly seconds: number;
  readonly folder: string;
  /** Name of the job, as the table of `bench nbd` has it. */
  readonly job: string;
}

const volume = 'bench';
const sizeBytes = 512 << 20;
const outFolder = path.join(import.meta.dirname, 'out');

/** What a thread is, by a function that only it runs. */
const threads = [
  { name: 'main', sign: 'transmission.ts' },
  { name: 'commit', sign: 'committer.ts' },
  { name: 'keeper', sign: 'keeper.ts' },
] as const;

async function profile(job: Job, options: FlameOptions): Promise<Profile[]> {
  const folder = benchFolder(options.folder);
  const profiles = path.join(folder, 'profiles');
  try {
    const appliance = await Appliance.start({
      folder: path.join(folder, 'tidemark'),
      env: { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profiles}` },
    });
    try {
      await appliance.volumeCreate(volume, sizeBytes);
      const target = { uri: appliance.uri(volume), source: '', seconds: options.seconds };
      const fill = jobs.find((each) => each.name === '1m write burst');
      if (fill !== undefined) await runJob(fill, target);
      await preTouch();
      await segmentsReady(appliance);
      await runJob(job, { ...target, sizeBytes: 192 << 20 });
      await appliance.stop();
    } finally {
      await appliance.remove();
    }
    return fs
      .readdirSync(profiles)
      .map((name) => JSON.parse(fs.readFileSync(path.join(profiles, name), 'utf8')) as Profile);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

export async function benchFlame(options: FlameOptions): Promise<void> {
  const job = jobs.find((each) => each.name === options.job);
  if (job?.fio === undefined) {
    const known = jobs.filter((each) => each.fio !== undefined).map((each) => each.name);
    throw new Error(`--job ${options.job}: choose one of ${known.join(', ')}`);
  }
  const found = await profile(job, options);
  fs.mkdirSync(outFolder, { recursive: true });
  for (const { name, sign } of threads) {
    const match = found
      .filter((each) => each.nodes.some((node) => node.callFrame.url.endsWith(sign)))
      .map(stacksOf)
      .sort((left, right) => right.samples - left.samples)[0];
    if (match === undefined) continue;
    const file = path.join(outFolder, `flame-${job.name.replaceAll(' ', '-')}-${name}.svg`);
    fs.writeFileSync(file, drawFlames(match, `${job.name}, ${name} thread of the engine`));
    console.log(`${name}: ${match.samples} samples at work of ${match.total}: ${file}`);
  }
}
