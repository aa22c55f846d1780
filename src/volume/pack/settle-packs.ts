/** Packs when a pool is opened. */
import { DiskError } from '../../base/ports.ts';
import type { PoolHost } from '../ports.ts';
import type { Containers } from './containers.ts';
import { isUnfinishedPack, packFolder, packPath } from './pack-path.ts';

/**
 * Makes the packs that are in force the only ones, before anything is written: what was in their place goes away or is written
 * over from now on, so their names must be durable first. Throws DiskError when they are not.
 */
export function settlePacks({ disk, log }: PoolHost, containers: Containers): void {
  for (const { text } of containers.damaged) {
    log.warn('a pack is damaged, but nothing is missing without it', { pack: text });
  }
  const names = disk.list(packFolder);
  if (names.length === 0) return;
  disk.flushFolder(packFolder);
  try {
    for (const name of names) {
      if (isUnfinishedPack(name)) disk.remove(`${packFolder}/${name}`);
    }
    for (const packId of containers.superseded()) {
      disk.remove(packPath(packId));
      containers.remove(packId);
    }
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown;
    log.warn('what is left of former packs was not removed', { error: thrown.message });
  }
}
