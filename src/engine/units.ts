/**
 * Logical units: one for each volume or view that some host sees, kept for as long as one does.
 *
 *     volume ─▶ device ─▶ unit ◀─ LUN 0 of host a, LUN 3 of host b
 *                 └─ answers shuttingDown after a rollback, refresh or undo: the unit gets the new one
 *
 * Invariant: all maps of a volume share its one unit, so that reservations and unit attentions of one host reach the others.
 */
import { OperationError } from '../base/errors.ts';
import type { Log } from '../base/ports.ts';
import type { BlockDevice } from '../device/block-device.ts';
import { LogicalUnit } from '../scsi/logical-unit.ts';
import type { IsidRefusal } from '../scsi/reservations.ts';
import { SenseCode } from '../scsi/sense.ts';
import type { Pool } from '../volume/pool.ts';

/** At most four characters, for INQUIRY. */
const PRODUCT_REVISION = '0.1';

type Volume = ReturnType<Pool['volume']>;

/** What units need of the pool. */
interface UnitSource {
  volumeById(uuid: Uint8Array): Pick<Volume, 'name'> | undefined;
  volumeOpen(name: string): BlockDevice;
  space(): Pick<ReturnType<Pool['space']>, 'usedBytes' | 'writeLimitBytes'>;
}

export class Units {
  readonly #pool: UnitSource;
  readonly #log: Log;
  /** By the volume's uuid. */
  readonly #unitById = new Map<string, LogicalUnit>();
  #isSpaceLow = false;

  constructor(pool: UnitSource, log: Log) {
    this.#pool = pool;
    this.#log = log;
  }

  /** The unit of a volume, made when it is first asked for; undefined when there is no such volume. */
  unitOf(volumeId: string): LogicalUnit | undefined {
    const known = this.#unitById.get(volumeId);
    if (known !== undefined) return known;
    const volume = this.#volume(volumeId);
    if (volume === undefined) return undefined;
    const unit = new LogicalUnit({
      device: this.#pool.volumeOpen(volume.name),
      productRevision: PRODUCT_REVISION,
      space: () => {
        const { usedBytes, writeLimitBytes } = this.#pool.space();
        return { usedBytes, availableBytes: Math.max(0, writeLimitBytes - usedBytes) };
      },
    });
    if (unit.isStateDamaged) {
      this.#log.error(
        'what was kept of a LUN (reservations, mode pages) cannot be read: it answers NOT READY, as nobody knows who may ' +
          'write to it. Check its hosts; to begin without reservations, unmap it from every host and map it again',
        { volume: volume.name },
      );
    }
    if (this.#isSpaceLow) unit.spaceLow();
    this.#unitById.set(volumeId, unit);
    return unit;
  }

  /**
   * Closes the units of volumes that nobody sees any more. Where what was kept cannot be read, that the operator took the LUN
   * from every host is what it takes to forget it.
   */
  keepOnly(volumeIds: ReadonlySet<string>): void {
    for (const [volumeId, unit] of this.#unitById) {
      if (volumeIds.has(volumeId)) continue;
      this.#unitById.delete(volumeId);
      unit.close();
      if (unit.isStateDamaged) this.#discardState(volumeId, unit);
    }
  }

  /**
   * Runs `change`, which gives the volume other content, while no command of the volume's unit runs; commands that come are
   * answered BUSY meanwhile. Hosts are told when it is done; when it fails the unit goes on as before.
   */
  async whileSuspended<T>(volumeId: string, change: () => Promise<T>): Promise<T> {
    const unit = this.#unitById.get(volumeId);
    if (unit === undefined) return await change();
    await new Promise<void>((resolve) => {
      unit.suspend(resolve);
    });
    try {
      const result = await change();
      const volume = this.#volume(volumeId);
      // A volume that is gone: its unit is closed by who deleted it.
      if (volume !== undefined) unit.replaceDevice(this.#pool.volumeOpen(volume.name));
      return result;
    } finally {
      unit.resume();
    }
  }

  /** Whether persistent reservations of the volume go by the ISID. Rejects with OperationError when that cannot be changed now. */
  async setIgnoresIsid(volumeId: string, ignoresIsid: boolean): Promise<void> {
    const unit = this.unitOf(volumeId);
    if (unit === undefined || unit.ignoresIsid === ignoresIsid) return;
    if (unit.isStateDamaged) {
      // Keeping the rule would put a good state in place of the damaged one, and let in whoever that kept out.
      const message = 'what was kept of the reservations of this volume cannot be read';
      throw new OperationError(
        'conflict',
        message,
        'unmap it from every host, which discards that',
      );
    }
    const refusal = await new Promise<IsidRefusal | undefined>((resolve) => {
      unit.setIgnoresIsid(ignoresIsid, resolve);
    });
    if (refusal === undefined) return;
    if (refusal === 'notStored') {
      const message = 'the pool cannot keep how reservations of the volume go';
      throw new OperationError('unavailable', message, 'see: tidemark pool status');
    }
    const message =
      'initiators are registered for persistent reservations by their names alone, and nobody knows their ISIDs';
    throw new OperationError(
      'conflict',
      message,
      'have the hosts take their registrations back first',
    );
  }

  /** The volume answers writes at another time than before: what hosts know of its cache is old (caching page, WCE). */
  ackChanged(volumeId: string): void {
    this.#unitById.get(volumeId)?.raise(SenseCode.modeParametersChanged);
  }

  /** The volume is thin or thick as it was not before. */
  provisioningChanged(volumeId: string): void {
    this.#unitById.get(volumeId)?.provisioningChanged();
  }

  resized(volumeId: string): void {
    this.#unitById.get(volumeId)?.resized();
  }

  spaceLow(): void {
    this.#isSpaceLow = true;
    for (const unit of this.#unitById.values()) unit.spaceLow();
  }

  spaceRecovered(): void {
    this.#isSpaceLow = false;
    for (const unit of this.#unitById.values()) unit.spaceRecovered();
  }

  #discardState(volumeId: string, unit: LogicalUnit): void {
    unit.discardState((isDiscarded) => {
      const volume = this.#volume(volumeId)?.name;
      if (isDiscarded)
        this.#log.warn('a LUN that no host sees begins without reservations', { volume });
    });
  }

  #volume(volumeId: string): Pick<Volume, 'name'> | undefined {
    return this.#pool.volumeById(Uint8Array.fromHex(volumeId.replaceAll('-', '')));
  }
}
