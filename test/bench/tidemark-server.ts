/** Tidemark as one of the servers of the benchmark: a new pool for every round, one volume of the bench's size. */
import path from 'node:path';
import { defaultSettings } from '../../src/volume/limits.ts';
import { Appliance } from '../support/appliance.ts';
import { run, sleep } from '../support/run.ts';
import { deviceSizeBytes, readyWithinMs } from './limits.ts';
import type { ServerKind } from './peers.ts';

const benchVolume = 'bench';

/** Waits until the engine has zero-written as many segments ahead as it ever does, or as many as it can in this time. */
export async function segmentsReady(appliance: Appliance): Promise<void> {
  const endMs = Date.now() + readyWithinMs;
  while (Date.now() < endMs) {
    if ((await appliance.pool()).readySegmentCount >= defaultSettings.readySegments) return;
    await sleep(50);
  }
}

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
      settle: async () => {
        await segmentsReady(appliance);
      },
      stop: async () => {
        await appliance.remove();
      },
    };
  },
};
