/**
 * Portals of the engine: opens and closes until what is open is what is wanted. A portal that cannot be opened does not keep the
 * others closed: it is reported with its reason.
 *
 *     ::        IPv6 and IPv4, unless 0.0.0.0 is wanted on the same port: then IPv6 alone, so that both fit
 *     0.0.0.0   IPv4
 */
import type { ByteStream } from '../base/ports.ts';
import { listenTcp, type StreamListener } from '../host/socket.ts';
import type { Portal } from '../iscsi/portal.ts';
import type { IscsiListening, IscsiPortal } from './protocol.ts';

export const allIpv4 = '0.0.0.0';
export const allIpv6 = '::';

interface OpenPortal {
  readonly listener: StreamListener;
  readonly isIpv6Only: boolean;
  /** What sessions that come in from now on are told; its group may change. */
  portal: Portal;
}

export interface PortalsOwner {
  accept(stream: ByteStream, portal: Portal): void;
}

export class IscsiListeners {
  readonly #owner: PortalsOwner;
  #open: OpenPortal[] = [];
  /** As answered last. */
  #state: IscsiListening['portals'] = [];
  #isClosed = false;

  constructor(owner: PortalsOwner) {
    this.#owner = owner;
  }

  /** What was wanted last, and what became of it. */
  get current(): IscsiListening['portals'] {
    return this.#state;
  }

  async apply(wanted: readonly IscsiPortal[]): Promise<IscsiListening['portals']> {
    const kept = wanted.map((portal) => this.#find(portal, isIpv6Only(portal, wanted)));
    for (const open of this.#open) if (!kept.includes(open)) open.listener.close();
    this.#open = kept.filter((each) => each !== undefined);
    const state: IscsiListening['portals'][number][] = [];
    for (const [index, portal] of wanted.entries()) {
      const open = kept[index];
      if (open === undefined) state.push(await this.#listen(portal, isIpv6Only(portal, wanted)));
      else {
        open.portal = portalOf(portal, open.listener.port);
        state.push({ ...portal, port: open.listener.port });
      }
    }
    this.#state = state;
    return state;
  }

  /** For good. */
  close(): void {
    this.#isClosed = true;
    for (const { listener } of this.#open) listener.close();
    this.#open = [];
    this.#state = [];
  }

  /** The open portal that is meant; one on any port is the one that is open on this address. */
  #find({ address, port }: IscsiPortal, ipv6Only: boolean): OpenPortal | undefined {
    return this.#open.find(
      (open) =>
        open.portal.address === address &&
        open.isIpv6Only === ipv6Only &&
        (port === 0 || port === open.listener.port),
    );
  }

  async #listen(
    wanted: IscsiPortal,
    ipv6Only: boolean,
  ): Promise<IscsiListening['portals'][number]> {
    return await new Promise((resolve) => {
      let open: OpenPortal | undefined;
      const accept = (stream: ByteStream): void => {
        if (open === undefined) stream.destroy();
        else this.#owner.accept(stream, open.portal);
      };
      const { address, port } = wanted;
      listenTcp({ address, port, isIpv6Only: ipv6Only }, accept, (error, listener) => {
        if (listener === undefined) {
          resolve({ ...wanted, fault: error?.message ?? 'no listener' });
          return;
        }
        // The engine began to stop while the port was being opened.
        if (this.#isClosed) listener.close();
        open = { listener, isIpv6Only: ipv6Only, portal: portalOf(wanted, listener.port) };
        this.#open.push(open);
        resolve({ ...wanted, port: listener.port });
      });
    });
  }
}

/** Whether a portal on all IPv6 addresses leaves IPv4 to another one. */
export function isIpv6Only({ address, port }: IscsiPortal, all: readonly IscsiPortal[]): boolean {
  if (address !== allIpv6) return false;
  return all.some((other) => other.address === allIpv4 && other.port === port);
}

/** Portals of one group are one SCSI target port (RFC 7143 section 4.4.1): its relative identifier is the group's tag. */
function portalOf({ address, group }: IscsiPortal, port: number): Portal {
  return { address, port, group, relativePort: group };
}
