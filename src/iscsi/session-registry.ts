/**
 * Sessions by handle and by whom they connect. One initiator port (name and ISID) has one session with one target port
 * (target name and portal group): who logs in again takes the place of its old session. RFC 7143 sections 4.4.3 and 6.3.5.
 *
 *     login ─▶ admit ─▶ old session? ─▶ dropped ─▶ gone ─▶ new one opens
 *                                         another login of the same port meanwhile: takes the place of the waiting one
 */
import { toHex } from '../base/uuid.ts';
import type { LoginOutcome } from './login.ts';
import type { Session } from './session.ts';

const tsihMax = 0xffff;

/** Twelve digits. */
export function formatIsid(isid: Uint8Array): string {
  return toHex(isid);
}

/** Names have no blanks. */
function keyOf({ initiatorName, isid, targetName, portalGroupTag }: LoginOutcome): string {
  return [initiatorName, toHex(isid), targetName, portalGroupTag].join(' ');
}

export class SessionRegistry {
  readonly #sessionByTsih = new Map<number, Session>();
  /** The newest of each initiator port and target port. */
  readonly #sessionByKey = new Map<string, Session>();
  #lastTsih = 0;

  get all(): Iterable<Session> {
    return this.#sessionByTsih.values();
  }

  has(initiatorName: string, isid: Uint8Array, tsih: number): boolean {
    const candidate = this.#sessionByTsih.get(tsih)?.candidate;
    const isSame =
      candidate?.initiatorName === initiatorName && toHex(candidate.isid) === toHex(isid);
    return isSame;
  }

  /** A handle that no session has; undefined when all are taken. */
  freeTsih(): number | undefined {
    if (this.#sessionByTsih.size >= tsihMax) return undefined;
    do {
      this.#lastTsih = (this.#lastTsih % tsihMax) + 1;
    } while (this.#sessionByTsih.has(this.#lastTsih));
    return this.#lastTsih;
  }

  /** Enters a session. Returns the one whose place it takes. Discovery sessions take nobody's. */
  add(session: Session): Session | undefined {
    this.#sessionByTsih.set(session.tsih, session);
    if (session.candidate.kind === 'discovery') return undefined;
    const key = keyOf(session.candidate);
    const before = this.#sessionByKey.get(key);
    this.#sessionByKey.set(key, session);
    return before;
  }

  remove(session: Session): void {
    this.#sessionByTsih.delete(session.tsih);
    const key = keyOf(session.candidate);
    if (this.#sessionByKey.get(key) !== session) return;
    // One that waited in vain leaves the place to the one whose tasks still run.
    const { blocker } = session;
    if (blocker === undefined) this.#sessionByKey.delete(key);
    else this.#sessionByKey.set(key, blocker);
  }
}
