/**
 * The pool's volumes and snapshots as NBD exports: NAME for a volume, NAME@SNAPSHOT for a snapshot (read-only).
 *
 * When recovery found that acknowledged writes are missing and cannot say where, a volume's content may be older than what
 * was promised: it is then offered as salvage:NAME only, so that nobody takes it for the volume by mistake.
 */
import { ErrorCode, OperationError } from '../base/errors.ts';
import { formatSize } from '../base/units.ts';
import { uuidText } from '../base/uuid.ts';
import type { NbdExportInfo, NbdExports, NbdOpenExport } from '../nbd/exports.ts';
import type { Pool } from '../volume/pool.ts';

/** Whose state an open export shows: ids, so renames do not matter. */
interface Shown {
  readonly volumeId: string;
  readonly snapshotId: string | undefined;
}

/** No volume's name has a colon. */
const salvagePrefix = 'salvage:';

export class PoolExports implements NbdExports {
  readonly #pool: Pool;
  /** One per connection. */
  readonly #open = new Map<NbdOpenExport, Shown>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  list(): readonly NbdExportInfo[] {
    const infos: NbdExportInfo[] = [];
    for (const volume of this.#pool.volumes()) {
      infos.push({ name: this.#headName(volume.name), description: this.#describe(volume) });
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
      else if (snapshotName === undefined) done(this.#openHead(volumeName));
      else this.#openSnapshot(volumeName, snapshotName, done);
    } catch (thrown) {
      if (!(thrown instanceof OperationError) || thrown.code !== ErrorCode.notFound) throw thrown;
      done(undefined);
    }
  }

  /** What is open of a volume, without its snapshots: one per connection. */
  volumeConnections(volumeId: string): Set<NbdOpenExport> {
    return this.#which((shown) => shown.volumeId === volumeId && shown.snapshotId === undefined);
  }

  /** What is open of a volume and its snapshots. */
  allConnections(volumeId: string): Set<NbdOpenExport> {
    return this.#which((shown) => shown.volumeId === volumeId);
  }

  snapshotConnections(snapshotId: string): Set<NbdOpenExport> {
    return this.#which((shown) => shown.snapshotId === snapshotId);
  }

  #describe(volume: ReturnType<Pool['volume']>): string {
    const size = formatSize(volume.sizeBytes);
    if (this.#pool.isIncomplete)
      return `what is left of ${volume.name}, ${size}: writes are missing`;
    if (volume.view === undefined) return `volume, ${size}`;
    const source = this.#pool.volumeById(volume.view.sourceUuid)?.name ?? 'a deleted volume';
    return `view of ${source} at ${volume.view.label}, ${size}`;
  }

  #which(matches: (shown: Shown) => boolean): Set<NbdOpenExport> {
    const found = new Set<NbdOpenExport>();
    for (const [opened, shown] of this.#open) if (matches(shown)) found.add(opened);
    return found;
  }

  #headName(volumeName: string): string {
    return this.#pool.isIncomplete ? salvagePrefix + volumeName : volumeName;
  }

  /** Undefined when the name is not the one under which the head is offered. */
  #openHead(name: string): NbdOpenExport | undefined {
    if (!this.#pool.isIncomplete) return this.#openVolume(name, name);
    if (!name.startsWith(salvagePrefix)) return undefined;
    return this.#openVolume(name.slice(salvagePrefix.length), name);
  }

  #openVolume(volumeName: string, name: string): NbdOpenExport {
    const volume = this.#pool.volume(volumeName);
    const device = this.#pool.volumeOpen(volumeName);
    const opened: NbdOpenExport = {
      device,
      name,
      description: this.#describe(volume),
      close: () => {
        this.#open.delete(opened);
      },
    };
    this.#open.set(opened, { volumeId: uuidText(volume.uuid), snapshotId: undefined });
    return opened;
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
      const opened: NbdOpenExport = {
        device: outcome.value.device,
        name,
        description: describeSnapshot(volumeName, snapshot.createdMs, snapshot.sizeBytes),
        close: () => {
          this.#open.delete(opened);
          outcome.value.close();
        },
      };
      this.#open.set(opened, {
        volumeId: uuidText(volume.uuid),
        snapshotId: uuidText(snapshot.uuid),
      });
      done(opened);
    });
  }
}

function describeSnapshot(volume: string, createdMs: number, sizeBytes: number): string {
  const time = new Date(createdMs).toISOString();
  return `snapshot of ${volume} taken ${time}, ${formatSize(sizeBytes)}, crash-consistent`;
}
