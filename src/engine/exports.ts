/** The pool's volumes and snapshots as NBD exports: NAME for a volume, NAME@SNAPSHOT for a snapshot (read-only). */
import { ErrorCode, OperationError } from '../base/errors.ts';
import { formatSize } from '../base/units.ts';
import { uuidText } from '../base/uuid.ts';
import type { NbdExportInfo, NbdExports, NbdOpenExport } from '../nbd/exports.ts';
import type { Pool } from '../volume/pool.ts';

/** One thing that is open: who has it open is known by volume id, so renames do not lose count. */
interface OpenEntry {
  readonly volumeId: string;
  readonly snapshotId: string | undefined;
  /** Name under which it was opened. */
  readonly name: string;
}

export class PoolExports implements NbdExports {
  readonly #pool: Pool;
  readonly #open = new Set<OpenEntry>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  list(): readonly NbdExportInfo[] {
    const infos: NbdExportInfo[] = [];
    for (const volume of this.#pool.volumes()) {
      infos.push({ name: volume.name, description: this.#describe(volume) });
      for (const snapshot of volume.snapshotByName.values()) {
        infos.push({
          name: `${volume.name}@${snapshot.name}`,
          description: describeSnapshot(volume.name, snapshot.createdMs, snapshot.sizeBytes),
        });
      }
    }
    return infos.sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  open(name: string, done: (opened: NbdOpenExport | undefined) => void): void {
    const [volumeName = '', snapshotName, ...rest] = name.split('@');
    try {
      if (rest.length > 0) done(undefined);
      else if (snapshotName === undefined) done(this.#openVolume(volumeName));
      else this.#openSnapshot(volumeName, snapshotName, done);
    } catch (thrown) {
      if (!(thrown instanceof OperationError) || thrown.code !== ErrorCode.notFound) throw thrown;
      done(undefined);
    }
  }

  /** Names under which a volume (without its snapshots) is open, one per connection. */
  volumeConnections(volumeId: string): string[] {
    return this.#names((entry) => entry.volumeId === volumeId && entry.snapshotId === undefined);
  }

  /** Names under which a volume or any snapshot of it is open. */
  allConnections(volumeId: string): string[] {
    return this.#names((entry) => entry.volumeId === volumeId);
  }

  snapshotConnections(snapshotId: string): string[] {
    return this.#names((entry) => entry.snapshotId === snapshotId);
  }

  #describe(volume: ReturnType<Pool['volume']>): string {
    const size = formatSize(volume.sizeBytes);
    if (volume.view === undefined) return `volume, ${size}`;
    const source = this.#pool.volumeById(volume.view.sourceUuid)?.name ?? 'a deleted volume';
    return `view of ${source} at ${volume.view.label}, ${size}`;
  }

  #names(matches: (entry: OpenEntry) => boolean): string[] {
    return [...this.#open].filter(matches).map((entry) => entry.name);
  }

  #openVolume(name: string): NbdOpenExport {
    const volume = this.#pool.volume(name);
    const device = this.#pool.volumeOpen(name);
    const entry = { volumeId: uuidText(volume.uuid), snapshotId: undefined, name };
    this.#open.add(entry);
    return {
      device,
      name,
      description: this.#describe(volume),
      close: () => {
        this.#open.delete(entry);
      },
    };
  }

  #openSnapshot(
    volumeName: string,
    snapshotName: string,
    done: (opened: NbdOpenExport | undefined) => void,
  ): void {
    const volume = this.#pool.volume(volumeName);
    const snapshot = this.#pool.snapshot(volumeName, snapshotName);
    const name = `${volumeName}@${snapshotName}`;
    this.#pool.snapshotOpen(volumeName, snapshotName, (outcome) => {
      if (!outcome.ok) {
        done(undefined);
        return;
      }
      const entry = {
        volumeId: uuidText(volume.uuid),
        snapshotId: uuidText(snapshot.uuid),
        name,
      };
      this.#open.add(entry);
      done({
        device: outcome.value.device,
        name,
        description: describeSnapshot(volumeName, snapshot.createdMs, snapshot.sizeBytes),
        close: () => {
          this.#open.delete(entry);
          outcome.value.close();
        },
      });
    });
  }
}

function describeSnapshot(volume: string, createdMs: number, sizeBytes: number): string {
  const time = new Date(createdMs).toISOString();
  return `snapshot of ${volume} taken ${time}, ${formatSize(sizeBytes)}, crash-consistent`;
}
