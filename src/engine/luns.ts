/**
 * Who may log in over iSCSI and what they see, from the desired state that the daemon gave last; all in memory.
 *
 *     initiator name ─▶ host that names it, else the host for any initiator, else nobody
 *                         └─▶ target (its own or the pool's), CHAP accounts, LUN number ─▶ unit
 *
 * Invariants
 * 1. An initiator that a host names sees what that host sees and nothing else, also where another host takes any initiator.
 * 2. An initiator sees one target: its host's own where there is one, else the pool's. A target of a host's own is there for
 *    nobody else.
 */
import { isLinkLocalAddress, isLoopbackAddress } from '../base/ip-address.ts';
import type {
  ChapCredentials,
  InitiatorIdentity,
  IscsiHosts,
  PortalAddress,
  TargetAccess,
  TargetEntry,
} from '../iscsi/hosts.ts';
import type { LunMap, MappedLun } from '../scsi/target.ts';
import { allIpv4, allIpv6, isIpv6Only } from './iscsi-listeners.ts';
import type { IscsiHost, IscsiPortal, IscsiWanted } from './protocol.ts';
import type { Units } from './units.ts';

interface HostState {
  readonly host: IscsiHost;
  readonly targetName: string;
  readonly luns: ReadonlyMap<number, MappedLun>;
  readonly chap: ChapCredentials | undefined;
}

/** Where a volume is to be seen. */
export interface VolumeMap {
  readonly host: string;
  readonly lun: number;
}

const noLuns: ReadonlyMap<number, MappedLun> = new Map();

export class IscsiAccess implements LunMap, IscsiHosts {
  readonly #units: Pick<Units, 'unitOf' | 'keepOnly'>;
  /** Addresses of this machine, for portals on all of them. */
  readonly #machineAddresses: () => readonly string[];
  /** Nobody is served: the pool lost writes, and its volumes may show older content. */
  readonly #isUnavailable: boolean;
  #targetName = '';
  #portals: readonly IscsiPortal[] = [];
  #stateByInitiator: ReadonlyMap<string, HostState> = new Map();
  #anyState: HostState | undefined;
  #states: readonly HostState[] = [];
  #ownTargets: ReadonlySet<string> = new Set();
  #mapsByVolume = new Map<string, VolumeMap[]>();

  constructor(options: {
    readonly units: Pick<Units, 'unitOf' | 'keepOnly'>;
    readonly machineAddresses: () => readonly string[];
    readonly isUnavailable: boolean;
  }) {
    this.#units = options.units;
    this.#machineAddresses = options.machineAddresses;
    this.#isUnavailable = options.isUnavailable;
  }

  get targetName(): string {
    return this.#targetName;
  }

  /** From now on this holds. Maps of volumes that do not exist are left out. */
  configure({ targetName, hosts }: IscsiWanted): void {
    this.#targetName = targetName;
    const states = hosts.map((host): HostState => {
      return {
        host,
        targetName: host.targetName ?? targetName,
        luns: this.#lunsOf(host),
        chap: credentialsOf(host),
      };
    });
    this.#use(states);
    const seen = hosts.flatMap(({ luns }) => luns.map(({ volumeUuid }) => volumeUuid));
    this.#units.keepOnly(new Set(seen));
  }

  /** The portals that are open. */
  usePortals(portals: readonly IscsiPortal[]): void {
    this.#portals = portals;
  }

  /** A volume is gone: no host sees it any more. */
  forgetVolume(volumeId: string): void {
    const kept = this.#states.map(({ host }) => ({
      ...host,
      luns: host.luns.filter(({ volumeUuid }) => volumeUuid !== volumeId),
    }));
    this.configure({ targetName: this.#targetName, portals: [], hosts: kept });
  }

  /** Which hosts see a volume. */
  mapsOf(volumeId: string): readonly VolumeMap[] {
    return this.#mapsByVolume.get(volumeId) ?? [];
  }

  /** Name of the host that an initiator belongs to. */
  hostOf(initiatorName: string): string | undefined {
    return this.#stateOf(initiatorName)?.host.name;
  }

  luns(initiatorName: string, targetName: string): ReadonlyMap<number, MappedLun> {
    const state = this.#stateOf(initiatorName);
    return state?.targetName === targetName && !this.#isUnavailable ? state.luns : noLuns;
  }

  targets(initiator: InitiatorIdentity): readonly TargetEntry[] {
    const state = this.#admitted(initiator);
    if (state === undefined || this.#isUnavailable) return [];
    const portals = this.#portals.flatMap((portal) => this.#advertised(portal, initiator.address));
    return [{ name: state.targetName, portals }];
  }

  access(initiator: InitiatorIdentity, targetName: string): TargetAccess {
    if (!this.#isTarget(targetName)) return { kind: 'notFound' };
    const state = this.#admitted(initiator);
    if (state?.targetName !== targetName) {
      return { kind: 'forbidden', reason: this.#whyForbidden(initiator.name, state) };
    }
    if (this.#isUnavailable) return { kind: 'unavailable' };
    const { host, chap } = state;
    return chap === undefined
      ? { kind: 'ok', host: host.name }
      : { kind: 'ok', host: host.name, chap };
  }

  /**
   * Whether a session that was let in before may go on. To which host its initiator belongs may have changed: it has proven
   * itself, if at all, to the host that let it in. New secrets of the same host are asked for at the next login.
   */
  keeps(session: {
    readonly initiator: InitiatorIdentity;
    targetName: string;
    host: string;
  }): boolean {
    const access = this.access(session.initiator, session.targetName);
    return access.kind === 'ok' && (access.host === session.host || access.chap === undefined);
  }

  /** Who must prove who he is to log in must do so to ask for targets. */
  discoveryChap(initiator: InitiatorIdentity): ChapCredentials | undefined {
    return this.#admitted(initiator)?.chap;
  }

  #use(states: readonly HostState[]): void {
    this.#states = states;
    this.#ownTargets = new Set(
      states.flatMap(({ host: { targetName } }) => (targetName === undefined ? [] : [targetName])),
    );
    this.#stateByInitiator = new Map(
      states.flatMap((state) => state.host.initiators.map((name) => [name, state] as const)),
    );
    this.#anyState = states.find(({ host }) => host.isAnyInitiator);
    this.#mapsByVolume = new Map();
    for (const { host } of states) {
      for (const { lun, volumeUuid } of host.luns) {
        const maps = this.#mapsByVolume.get(volumeUuid) ?? [];
        maps.push({ host: host.name, lun });
        this.#mapsByVolume.set(volumeUuid, maps);
      }
    }
  }

  #isTarget(name: string): boolean {
    return name === this.#targetName || this.#ownTargets.has(name);
  }

  #stateOf(initiatorName: string): HostState | undefined {
    return this.#stateByInitiator.get(initiatorName) ?? this.#anyState;
  }

  #whyForbidden(initiatorName: string, admitted: HostState | undefined): string {
    if (admitted !== undefined) {
      return `host ${admitted.host.name} has the target ${admitted.targetName}`;
    }
    const name = this.#stateOf(initiatorName)?.host.name;
    return name === undefined ? 'no host names it' : `host ${name} is for this machine only`;
  }

  /** The host that lets the initiator in from where it is. */
  #admitted({ name, address }: InitiatorIdentity): HostState | undefined {
    const state = this.#stateOf(name);
    return state?.host.isLoopbackOnly === true && !isLoopbackAddress(address) ? undefined : state;
  }

  #lunsOf({ luns }: IscsiHost): ReadonlyMap<number, MappedLun> {
    const mapped = new Map<number, MappedLun>();
    for (const { lun, volumeUuid, isReadOnly } of luns.toSorted((a, b) => a.lun - b.lun)) {
      const unit = this.#units.unitOf(volumeUuid);
      if (unit !== undefined) mapped.set(lun, { unit, isReadOnly });
    }
    return mapped;
  }

  /** Where an initiator at `address` finds a portal: one on all addresses is named by those that it can reach. */
  #advertised(portal: IscsiPortal, peer: string): PortalAddress[] {
    const { address, port, group } = portal;
    if (address !== allIpv4 && address !== allIpv6) return [{ address, port, group }];
    const isFromHere = isLoopbackAddress(peer);
    const hasIpv4 = !isIpv6Only(portal, this.#portals);
    return this.#machineAddresses()
      .filter((each) => (each.includes(':') ? address === allIpv6 : hasIpv4))
      .filter((each) => isLoopbackAddress(each) === isFromHere && !isLinkLocalAddress(each))
      .map((each) => ({ address: each, port, group }));
  }
}

function credentialsOf({ chapIn, chapOut }: IscsiHost): ChapCredentials | undefined {
  if (chapIn === undefined) return undefined;
  return {
    userName: chapIn.user,
    secret: Uint8Array.fromHex(chapIn.secret),
    ...(chapOut === undefined
      ? {}
      : { outName: chapOut.user, outSecret: Uint8Array.fromHex(chapOut.secret) }),
  };
}
