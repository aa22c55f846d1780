/**
 * A session: an initiator port logged in to a target port, over its one connection. RFC 7143 sections 4.2 and 6.3.5.
 *
 *     waiting (for the session it takes the place of) ─▶ open ─▶ ended (connection closed) ─▶ gone
 *        └──────────── ended ─▶ gone at once                      └ tasks aborted, nothing of them can be written
 *
 * Invariants
 * 1. A session is opened when the one before it, of the same initiator port and target port, is gone: no command of the old
 *    one runs beside one of the new.
 * 2. The nexus is opened and closed once.
 */
import type { Nexus } from '../scsi/nexus.ts';
import type { ScsiTarget } from '../scsi/target.ts';
import type { SessionCounters } from './lane.ts';
import type { LoginOutcome } from './login.ts';
import type { Portal } from './portal.ts';

export interface SessionParts {
  readonly tsih: number;
  /** Of the login that asks for the session; its TSIH is not set. */
  readonly candidate: LoginOutcome;
  readonly portal: Portal;
  /** Peer with port, for people. */
  readonly address: string;
  /** Wall clock. */
  readonly sinceMs: number;
  readonly target: ScsiTarget;
  /** Ends the connection now; `end` follows. */
  readonly drop: () => void;
  /** The session is gone: forget it. */
  readonly onGone: (session: Session) => void;
}

export class Session {
  readonly tsih: number;
  readonly candidate: LoginOutcome;
  readonly portal: Portal;
  readonly address: string;
  readonly sinceMs: number;
  readonly counters: SessionCounters = { commandCount: 0, bytesRead: 0, bytesWritten: 0 };
  nexus: Nexus | undefined;
  readonly #parts: SessionParts;
  /** The session whose tasks must end before this one may open. */
  #blocker: Session | undefined;
  #isEnded = false;
  #isNexusClosed = true;
  #isGone = false;
  #isClosing = false;
  readonly #waiters = new Set<() => void>();
  #onUnblocked: () => void = () => undefined;

  constructor(parts: SessionParts) {
    this.tsih = parts.tsih;
    this.candidate = parts.candidate;
    this.portal = parts.portal;
    this.address = parts.address;
    this.sinceMs = parts.sinceMs;
    this.#parts = parts;
  }

  /** Opens when `before` is gone (it is dropped), or now; `opened` is not called when the session ended meanwhile. */
  open(before: Session | undefined, opened: () => void): void {
    before?.drop();
    const blocker = before?.blocker;
    if (blocker === undefined) {
      this.#openNow(opened);
      return;
    }
    this.#blocker = blocker;
    this.#onUnblocked = () => {
      this.#blocker = undefined;
      this.#openNow(opened);
    };
    blocker.#waiters.add(this.#onUnblocked);
  }

  /** Who must be gone before a session of the same initiator port may open: this one, or the one it waited for in vain. */
  get blocker(): Session | undefined {
    return this.#isGone ? this.#blocker?.blocker : this;
  }

  /** Ends the connection now. */
  drop(): void {
    this.#parts.drop();
  }

  /** Aborts the session's tasks; `done` runs when nothing of them can be written any more. */
  closeNexus(done: () => void): void {
    const { nexus } = this;
    if (nexus === undefined || this.#isClosing) {
      if (this.#isNexusClosed) done();
      else this.#waiters.add(done);
      return;
    }
    this.#isClosing = true;
    this.#parts.target.closeNexus(nexus, () => {
      this.#isNexusClosed = true;
      done();
      this.#checkGone();
    });
  }

  /** The connection is closed. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    if (this.#blocker !== undefined) this.#blocker.#waiters.delete(this.#onUnblocked);
    this.closeNexus(() => {
      this.#checkGone();
    });
    this.#checkGone();
  }

  #openNow(opened: () => void): void {
    const { initiatorName, isid, targetName, portalGroupTag, kind } = this.candidate;
    if (kind === 'normal') {
      const { relativePort } = this.portal;
      const port = { targetName, portalGroupTag, relativePort };
      const identity = { initiatorName, isid, ...port, writer: this.tsih };
      this.nexus = this.#parts.target.openNexus(identity);
      this.#isNexusClosed = false;
    }
    opened();
  }

  #checkGone(): void {
    if (this.#isGone || !this.#isEnded || !this.#isNexusClosed) return;
    this.#isGone = true;
    this.#parts.onGone(this);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const action of waiters) action();
  }
}
