/** LUN maps: which volume a host sees under which number. A number stays for the life of its map. */
import { OperationError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import { count } from '../base/words.ts';
import type { LunMapRecord } from '../catalog/catalog.ts';
import type { Lun, LunMap, LunQuery, LunUnmapped } from '../contract/lun.ts';
import type { VolumeInfo } from '../engine/protocol.ts';
import type { IscsiControl } from './iscsi-control.ts';
import type { EngineAccess } from './pool-control.ts';
import { volumesByUuid } from './volumes-by-uuid.ts';

export class LunControl {
  readonly #engine: EngineAccess;
  readonly #iscsi: IscsiControl;
  readonly #clock: Clock;

  constructor(engine: EngineAccess, iscsi: IscsiControl, clock: Clock) {
    this.#engine = engine;
    this.#iscsi = iscsi;
    this.#clock = clock;
  }

  /** By host and number. Rejects with `not-found` when there is no such host or volume. */
  async lunList({ host, volume }: LunQuery): Promise<Lun[]> {
    if (host !== undefined) this.#iscsi.catalog.hostShow(host);
    const volumes = await volumesByUuid(this.#engine);
    const luns = this.#iscsi.catalog
      .lunList()
      .filter((map) => host === undefined || map.host === host)
      .map((map) => this.#lun(map, volumes.get(map.volumeUuid)));
    if (volume === undefined) return luns;
    const { uuid } = await this.#engine.call('volumeShow', { name: volume });
    return luns.filter((lun) => lun.volumeUuid === uuid);
  }

  async lunMap({ volume, host, lun, isReadOnly = false }: LunMap): Promise<Lun> {
    const info = await this.#engine.call('volumeShow', { name: volume });
    const map = this.#iscsi.catalog.lunMap({
      host,
      poolUuid: this.#iscsi.poolUuid,
      volumeUuid: info.uuid,
      isReadOnly,
      createdMs: this.#clock.wallMs(),
      ...(lun === undefined ? {} : { lun }),
    });
    await this.#iscsi.apply();
    return this.#lun(map, info);
  }

  /** `volume`: a name, or the uuid of a volume that is gone. Rejects with `needs-force` while the host has sessions. */
  async lunUnmap(host: string, volume: string, force: boolean): Promise<LunUnmapped> {
    const luns = await this.lunList({ host });
    const map = luns.find((each) => each.volume === volume || each.volumeUuid === volume);
    if (map === undefined) {
      const hint = `tidemark lun list --host ${host} shows what it has`;
      throw new OperationError('not-found', `host ${host} does not have ${volume}`, hint);
    }
    const sessions = (await this.#engine.call('sessionList', {})).filter(
      (session) => session.host === host && session.luns.includes(map.lun),
    );
    if (sessions.length > 0 && !force) {
      const message = `host ${host} has ${volume} as LUN ${map.lun} in ${count(sessions.length, 'session')}, and would lose it at once`;
      const hint = 'unmount it and forget the device there first, or repeat with --force';
      throw new OperationError('needs-force', message, hint);
    }
    this.#iscsi.catalog.lunUnmap(host, map.volumeUuid);
    await this.#iscsi.apply();
    return { host, volume: map.volume, lun: map.lun };
  }

  #lun(map: LunMapRecord, info: VolumeInfo | undefined): Lun {
    const { host, lun, volumeUuid, isReadOnly, createdMs } = map;
    return {
      host,
      lun,
      volume: info?.name ?? volumeUuid,
      volumeUuid,
      isReadOnly,
      createdMs,
      ...(info === undefined ? {} : { sizeBytes: info.sizeBytes, naa: info.naa, ack: info.ack }),
      iscsiUris: this.#iscsi.urisOf(host, lun),
    };
  }
}
