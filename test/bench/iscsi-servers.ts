/** The targets of the iSCSI benchmark: Debian's tgt with its write cache on and off, and tidemark. */
import fs from 'node:fs';
import path from 'node:path';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { run } from '../support/run.ts';
import { Tgt, writeCacheOff } from '../support/tgt.ts';
import type { Contender } from './comparison.ts';
import { deviceSizeBytes } from './limits.ts';
import type { RunningServer } from './peers.ts';
import { segmentsReady } from './tidemark-server.ts';

/** Where the targets keep their data, and what the unit holds at first: random bytes as large as the device. */
export interface IscsiBenchPlace {
  readonly folder: string;
  readonly source: string;
}

const benchVolume = 'bench';

async function startTgt(place: IscsiBenchPlace, params?: string): Promise<RunningServer> {
  const folder = path.join(place.folder, 'tgt');
  const file = path.join(folder, 'disk.raw');
  fs.mkdirSync(folder, { recursive: true });
  await run('cp', ['--sparse=never', place.source, file]);
  const tgt = await Tgt.start({
    folder,
    luns: [params === undefined ? { file } : { file, params }],
  });
  const stop = async (): Promise<void> => {
    await tgt.stop();
    fs.rmSync(folder, { recursive: true });
  };
  return { uri: tgt.url(1), pids: [tgt.pid], stop };
}

async function startTidemark(
  place: IscsiBenchPlace,
  ack: 'durable' | 'write-back',
): Promise<RunningServer> {
  const folder = path.join(place.folder, 'tidemark');
  const target = await IscsiAppliance.start({ folder });
  try {
    const { appliance } = target;
    await appliance.volumeCreate(benchVolume, deviceSizeBytes);
    await run('nbdcopy', ['--connections=1', '--flush', place.source, appliance.uri(benchVolume)]);
    // Read whole: what was just written comes from the disk the first time, while tgt's file is in the page cache.
    await run('nbdcopy', ['--connections=1', '--no-extents', appliance.uri(benchVolume), 'null:']);
    await appliance.idle(benchVolume);
    if (ack === 'write-back')
      await appliance.api('POST', `/v1/volumes/${benchVolume}/set`, { ack });
    const lun = await target.lunMap(benchVolume);
    return {
      uri: target.url(lun),
      pids: [await appliance.enginePid()],
      settle: async () => {
        await segmentsReady(appliance);
      },
      stop: async () => {
        await target.remove();
      },
    };
  } catch (error) {
    await target.remove();
    throw error;
  }
}

const tidemarkName = 'tidemark';

export function iscsiContenders(place: IscsiBenchPlace): readonly Contender[] {
  return [
    {
      name: tidemarkName,
      acknowledges: 'durable',
      start: async () => await startTidemark(place, 'durable'),
    },
    {
      name: 'tidemark write-back',
      acknowledges: 'cached',
      start: async () => await startTidemark(place, 'write-back'),
    },
    { name: 'tgt', acknowledges: 'cached', start: async () => await startTgt(place) },
    {
      name: 'tgt, write cache off',
      acknowledges: 'durable',
      start: async () => await startTgt(place, writeCacheOff),
    },
  ];
}
