/**
 * Portals of the engine: opens and closes until what is open is what is wanted. A portal that cannot be opened does not keep the
 * others closed: it is reported with its reason.
 */
import type { ByteStream } from '../base/ports.ts';
import { listenTcp, type StreamListener } from '../host/socket.ts';
import type { Portal } from '../iscsi/portal.ts';
import type { IscsiListening, IscsiPortal } from './protocol.ts';

interface OpenPortal {
  readonly listener: StreamListener;
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
    const kept = wanted.map((portal) => this.#find(portal));
    for (const open of this.#open) if (!kept.includes(open)) open.listener.close();
    this.#open = kept.filter((each) => each !== undefined);
    const state: IscsiListening['portals'][number][] = [];
    for (const [index, portal] of wanted.entries()) {
      const open = kept[index];
      if (open === undefined) state.push(await this.#listen(portal));
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
  #find({ address, port }: IscsiPortal): OpenPortal | undefined {
    return this.#open.find(
      (open) => open.portal.address === address && (port === 0 || port === open.listener.port),
    );
  }

  async #listen(wanted: IscsiPortal): Promise<IscsiListening['portals'][number]> {
    return await new Promise((resolve) => {
      let open: OpenPortal | undefined;
      const accept = (stream: ByteStream): void => {
        if (open === undefined) stream.destroy();
        else this.#owner.accept(stream, open.portal);
      };
      listenTcp(wanted.address, wanted.port, accept, (error, listener) => {
        if (listener === undefined) {
          resolve({ ...wanted, fault: error?.message ?? 'no listener' });
          return;
        }
        // The engine began to stop while the port was being opened.
        if (this.#isClosed) listener.close();
        open = { listener, portal: portalOf(wanted, listener.port) };
        this.#open.push(open);
        resolve({ ...wanted, port: listener.port });
      });
    });
  }
}

/** Portals of one group are one SCSI target port (RFC 7143 section 4.4.1): its relative identifier is the group's tag. */
function portalOf({ address, group }: IscsiPortal, port: number): Portal {
  return { address, port, group, relativePort: group };
}
