/** Tidemark as one of the servers of the benchmark: a new pool for every round, one volume of the bench's size. */
import path from 'node:path';
import { Appliance } from '../support/appliance.ts';
import { run } from '../support/run.ts';
import { deviceSizeBytes } from './limits.ts';
import type { ServerKind } from './peers.ts';

export const benchVolume = 'bench';

export const tidemarkServer: ServerKind = {
  name: 'tidemark',
  acknowledges: 'durable',
  start: async (place) => {
    const folder = path.join(place.folder, 'tidemark');
    const appliance = await Appliance.start({ folder });
    await appliance.volumeCreate(benchVolume, deviceSizeBytes);
    const uri = place.isTcp ? await appliance.tcpUri(benchVolume) : appliance.uri(benchVolume);
    await run('nbdcopy', ['--connections=1', '--flush', place.source, uri]);
    return {
      uri,
      pids: [await appliance.enginePid()],
      stop: async () => {
        await appliance.remove();
      },
    };
  },
};
