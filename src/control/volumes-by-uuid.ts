/** Volumes and views by what never changes about them. */
import type { VolumeInfo } from '../engine/protocol.ts';
import type { EngineAccess } from './pool-control.ts';

export async function volumesByUuid(
  engine: Pick<EngineAccess, 'call'>,
): Promise<ReadonlyMap<string, VolumeInfo>> {
  const volumes = await engine.call('volumeList', {});
  const views = await engine.call('viewList', {});
  return new Map([...volumes, ...views].map((info) => [info.uuid, info]));
}
