/**
 * The pool's volumes and snapshots as NBD exports: NAME for a volume, NAME@SNAPSHOT for a snapshot (read-only),
 * NAME@MOMENT+since=MOMENT for a moment with what changed in it since another one (read-only, one dirty bitmap). A moment is
 * there the name of a snapshot, position:N or a time with a zone: what means the same for every connection.
 *
 * When recovery found that acknowledged writes are missing and cannot say where, a volume's content may be older than what
 * was promised: it is then offered as salvage:NAME only, so that nobody takes it for the volume by mistake.
 */
import { ErrorCode, OperationError } from '../base/errors.ts';
import { isFixedMoment, parseMoment } from '../base/moment.ts';
import { formatSize } from '../base/units.ts';
import { uuidText } from '../base/uuid.ts';
import type { NbdExportInfo, NbdExports, NbdOpenExport } from '../nbd/exports.ts';
import type { Pool } from '../volume/pool.ts';

/** Whose state an open export shows: ids, so renames do not matter. */
interface Shown {
  readonly volumeId: string;
  /** Snapshots that it needs. */
  readonly snapshotIds: readonly string[];
}

/** No volume's name has a colon. */
const salvagePrefix = 'salvage:';
const sinceMark = '+since=';
const changesPattern = /^([^@]+)@(.+)\+since=(.+)$/;

export class PoolExports implements NbdExports {
  readonly #pool: Pool;
  /** One per connection. */
  readonly #open = new Map<NbdOpenExport, Shown>();
  /** Those of them that show the present, which a rollback changes, by volume: lists of volumes ask for each. */
  readonly #headsByVolume = new Map<string, Set<NbdOpenExport>>();

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
      if (name.includes(sinceMark)) this.#openChanges(name, done);
      else if (rest.length > 0) done(undefined);
      else if (snapshotName === undefined) done(this.#openHead(volumeName));
      else this.#openSnapshot(volumeName, snapshotName, done);
    } catch (thrown) {
      if (!(thrown instanceof OperationError) || thrown.code !== ErrorCode.notFound) throw thrown;
      done(undefined);
    }
  }

  /** What is open of a volume, without its snapshots: one per connection. */
  volumeConnections(volumeId: string): Set<NbdOpenExport> {
    return new Set(this.#headsByVolume.get(volumeId));
  }

  volumeConnectionCount(volumeId: string): number {
    return this.#headsByVolume.get(volumeId)?.size ?? 0;
  }

  /** What is open of a volume and its snapshots. */
  allConnections(volumeId: string): Set<NbdOpenExport> {
    return this.#which((shown) => shown.volumeId === volumeId);
  }

  snapshotConnections(snapshotId: string): Set<NbdOpenExport> {
    return this.#which((shown) => shown.snapshotIds.includes(snapshotId));
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
    const volumeId = uuidText(volume.uuid);
    const opened: NbdOpenExport = {
      device,
      name,
      description: this.#describe(volume),
      close: () => {
        this.#open.delete(opened);
        this.#forgetHead(volumeId, opened);
      },
    };
    this.#open.set(opened, { volumeId, snapshotIds: [] });
    const heads = this.#headsByVolume.get(volumeId);
    if (heads === undefined) this.#headsByVolume.set(volumeId, new Set([opened]));
    else heads.add(opened);
    return opened;
  }

  #forgetHead(volumeId: string, opened: NbdOpenExport): void {
    const heads = this.#headsByVolume.get(volumeId);
    heads?.delete(opened);
    if (heads?.size === 0) this.#headsByVolume.delete(volumeId);
  }

  /** VOLUME@MOMENT+since=MOMENT: the first moment, with what changed in it since the second as a dirty bitmap. */
  #openChanges(name: string, done: (opened: NbdOpenExport | undefined) => void): void {
    const names = changesPattern.exec(name);
    const [volumeName = '', at, since] = [names?.[1], momentOf(names?.[2]), momentOf(names?.[3])];
    if (at === undefined || since === undefined) {
      done(undefined);
      return;
    }
    const volume = this.#pool.volume(volumeName);
    const snapshotIds = [at, since].flatMap((moment) => this.#snapshotId(volumeName, moment));
    this.#pool.changesOpen({ volume: volumeName, at, since }, (outcome) => {
      if (!outcome.ok) {
        done(undefined);
        return;
      }
      const { device, diff } = outcome.value;
      const opened: NbdOpenExport = {
        device,
        name,
        description: `${volumeName} at ${at}, with what changed since ${since}, ${formatSize(device.sizeBytes)}`,
        dirtyBitmap: {
          name: (names?.[3] ?? '').replaceAll(/[^A-Za-z0-9._-]/g, '-'),
          runs: (range, runsMax, tell) => {
            diff.runs(range, runsMax, tell);
          },
        },
        close: () => {
          this.#open.delete(opened);
          outcome.value.close();
        },
      };
      this.#open.set(opened, { volumeId: uuidText(volume.uuid), snapshotIds });
      done(opened);
    });
  }

  /** None for moments that are no snapshots. Throws OperationError not-found. */
  #snapshotId(volumeName: string, moment: string): string[] {
    const spec = parseMoment(moment);
    if (spec?.kind !== 'snapshot') return [];
    return [uuidText(this.#pool.snapshot(volumeName, spec.name).uuid)];
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
        snapshotIds: [uuidText(snapshot.uuid)],
      });
      done(opened);
    });
  }
}

function describeSnapshot(volume: string, createdMs: number, sizeBytes: number): string {
  const time = new Date(createdMs).toISOString();
  return `snapshot of ${volume} taken ${time}, ${formatSize(sizeBytes)}, crash-consistent`;
}

/** The moment that a part of an export's name means; undefined when it means none, or not always the same. */
function momentOf(part: string | undefined): string | undefined {
  if (part === undefined) return undefined;
  const snapshot = `snapshot:${part}`;
  if (parseMoment(snapshot) !== undefined) return snapshot;
  return isFixedMoment(part) && !part.startsWith('snapshot:') ? part : undefined;
}
