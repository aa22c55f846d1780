/** Portals: the addresses under which initiators find the target. One comes from the settings, the others from the operator. */
import { OperationError } from '../base/errors.ts';
import { canonicalIpAddress } from '../base/ip-address.ts';
import type { Portal, PortalAdd, PortalList } from '../contract/portal.ts';
import type { IscsiControl } from './iscsi-control.ts';

const DEFAULT_PORT = 3260;
const DEFAULT_GROUP = 1;

export class PortalControl {
  readonly #iscsi: IscsiControl;

  constructor(iscsi: IscsiControl) {
    this.#iscsi = iscsi;
  }

  portalList(): PortalList {
    const { targetName, portals } = this.#iscsi.listening;
    const own = this.#iscsi.settingsPortal;
    return {
      targetName,
      portals: portals.map((portal, index): Portal => {
        const origin = own !== undefined && index === 0 ? 'settings' : 'added';
        return { ...portal, origin };
      }),
    };
  }

  /** Opens it at once; what cannot be opened is not added. Rejects with OperationError. */
  async portalAdd(wanted: PortalAdd): Promise<PortalList> {
    const { port = DEFAULT_PORT, group = DEFAULT_GROUP } = wanted;
    const address = canonicalIpAddress(wanted.address);
    if (address === undefined) {
      const hint = 'give an address of this machine, such as 10.0.0.5 or fd00::5';
      throw new OperationError('invalid', `${wanted.address} is not an IP address`, hint);
    }
    const own = this.#iscsi.settingsPortal;
    if (own === undefined) {
      const hint = 'start the daemon with --iscsi-port N';
      throw new OperationError('conflict', 'iSCSI is off', hint);
    }
    if (canonicalIpAddress(own.address) === address && own.port === port) {
      const message = `${address} port ${port} is the portal of the daemon's settings`;
      throw new OperationError('exists', message);
    }
    this.#iscsi.catalog.portalAdd({ address, port, group });
    await this.#iscsi.apply();
    const opened = this.#find(address, port);
    if (opened?.fault === undefined) return this.portalList();
    this.#iscsi.catalog.portalRemove(address, port);
    await this.#iscsi.apply();
    throw new OperationError('unavailable', opened.fault, 'give an address of this machine');
  }

  /** Sessions that came in there stay. Rejects with `not-found`. */
  async portalRemove(given: string, port: number): Promise<PortalList> {
    const address = canonicalIpAddress(given) ?? given;
    if (!this.#iscsi.catalog.portalRemove(address, port)) {
      const hint = 'only portals that were added can be removed: tidemark portal list';
      const message = `no portal ${address} port ${port} was added`;
      throw new OperationError('not-found', message, hint);
    }
    await this.#iscsi.apply();
    return this.portalList();
  }

  #find(address: string, port: number): PortalList['portals'][number] | undefined {
    return this.portalList().portals.find((each) => each.address === address && each.port === port);
  }
}
