/** Tidemark as two of the servers of the benchmark: a new pool for every round, one volume of the bench's size. */
import path from 'node:path';
import { defaultSettings } from '../../src/volume/limits.ts';
import { Appliance } from '../support/appliance.ts';
import { run, sleep } from '../support/run.ts';
import { deviceSizeBytes, readyWithinMs } from './limits.ts';
import { type BenchPlace, type ServerKind, tlsUri } from './peers.ts';

const benchVolume = 'bench';

/** Waits until the engine has zero-written as many segments ahead as it ever does, or as many as it can in this time. */
export async function segmentsReady(appliance: Appliance): Promise<void> {
  const endMs = Date.now() + readyWithinMs;
  while (Date.now() < endMs) {
    if ((await appliance.pool()).readySegmentCount >= defaultSettings.readySegments) return;
    await sleep(50);
  }
}

async function uriOf(appliance: Appliance, place: BenchPlace): Promise<string> {
  if (place.transport === 'unix') return appliance.uri(benchVolume);
  if (place.transport === 'tcp') return await appliance.tcpUri(benchVolume);
  const { tcp } = (await appliance.pool()).nbd;
  if (tcp === undefined) throw new Error('no TCP listener');
  return tlsUri(tcp.port, benchVolume, path.join(appliance.dataFolder, 'tls'));
}

function tidemark(name: string, ack: 'durable' | 'write-back'): ServerKind {
  return {
    name,
    acknowledges: ack === 'durable' ? 'durable' : 'cached',
    start: async (place) => {
      const folder = path.join(place.folder, 'tidemark');
      const args = place.transport === 'tls' ? ['--nbd-tls', 'required'] : [];
      const appliance = await Appliance.start({ folder, args });
      await appliance.api('POST', '/v1/volumes', {
        name: benchVolume,
        sizeBytes: deviceSizeBytes,
        ack,
      });
      const uri = await uriOf(appliance, place);
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
}

export const tidemarkDurable = tidemark('tidemark', 'durable');
export const tidemarkWriteBack = tidemark('tidemark write-back', 'write-back');
