/**
 * iSCSI server: every connection and session, and what they share.
 *
 *     ByteStream ─accept─▶ Connection ─▶ Login ─▶ Session ─▶ FullFeature ─▶ ScsiTarget
 *                              │                                  │
 *                              └──────── one turn list ───────────┘   output of all connections leaves at the end of a turn
 *
 * Invariants
 * 1. Every connection is in the set from accept until its stream is closed; every session in the registry until nothing
 *    of its tasks can be written.
 * 2. Connections, unfinished logins, memory and log lines are bounded (`server-limits.ts`, `limits.ts`).
 * 3. After `drain`, `done` is called once: when nothing of any task is at a device any more, or after `drainGraceMs` on top of the
 *    time given.
 *
 * Listening is left to the host; names, secrets and LUN maps to the engine.
 */
import { OutputPool } from '../base/output-pool.ts';
import type { ByteStream, Clock, Log, Random, Timer, Timers } from '../base/ports.ts';
import { dropStalled } from '../base/stalls.ts';
import { TurnList } from '../base/turn-list.ts';
import { Warnings } from '../base/warnings.ts';
import type { ScsiTarget } from '../scsi/target.ts';
import { ChallengeLedger } from './chap.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import type { IscsiHosts } from './hosts.ts';
import { IscsiTaskPool } from './iscsi-task.ts';
import type { Shared } from './lane.ts';
import type { LoginOutcome } from './login.ts';
import type { Refusal, RefusedLogin, SessionKind } from './login-identity.ts';
import { LoginStatus } from './pdu/login-response.ts';
import type { Portal } from './portal.ts';
import { drainGraceMs, type IscsiLimits, iscsiLimits, tickMs } from './server-limits.ts';
import { Session } from './session.ts';
import { formatIsid, SessionRegistry } from './session-registry.ts';

export interface IscsiServerParts {
  readonly target: ScsiTarget;
  readonly hosts: IscsiHosts;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** What differs from the usual limits. */
  readonly limits?: Partial<IscsiLimits>;
}

/** A session as people see it. */
export interface SessionInfo {
  /** TSIH. */
  readonly id: number;
  readonly kind: SessionKind;
  readonly initiatorName: string;
  /** Empty when it gave none. */
  readonly initiatorAlias: string;
  /** Twelve hexadecimal digits. */
  readonly isid: string;
  readonly targetName: string;
  /** Name of the host object; empty in a discovery session. */
  readonly host: string;
  /** Peer with port. */
  readonly address: string;
  /** Where it came in, with port. */
  readonly portal: string;
  readonly sinceMs: number;
  readonly commandCount: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export class IscsiServer implements ConnectionOwner {
  readonly hosts: IscsiHosts;
  readonly timers: Timers;
  readonly random: Random;
  readonly challenges = new ChallengeLedger();
  readonly shared: Shared;
  readonly turns: TurnList;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #warnings: Warnings;
  readonly #registry = new SessionRegistry();
  readonly #connections = new Set<Connection>();
  /** Not in a normal session yet, or in a discovery session; in order of arrival. */
  readonly #logins = new Set<Connection>();
  #nextId = 1;
  #tickTimer: Timer | undefined;
  #isStopping = false;
  #stopTimer: Timer | undefined;
  #onStopped: (() => void) | undefined;

  constructor(parts: IscsiServerParts) {
    const limits = { ...iscsiLimits, ...parts.limits };
    this.hosts = parts.hosts;
    this.timers = parts.timers;
    this.random = parts.random;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#warnings = new Warnings(parts.log, parts.timers, 'iscsi');
    this.turns = new TurnList(parts.timers);
    const { target } = parts;
    this.shared = { limits, pool: new OutputPool(limits), tasks: new IscsiTaskPool(), target };
  }

  /** Takes over a connected stream that came in through `portal`. */
  accept(stream: ByteStream, portal: Portal): void {
    const { connectionsMax, unfinishedLoginsMax } = this.shared.limits;
    if (this.#isStopping || this.#connections.size >= connectionsMax) {
      stream.destroy();
      return;
    }
    const connection = new Connection(this.#nextId, stream, portal, this);
    this.#nextId += 1;
    this.#connections.add(connection);
    this.#logins.add(connection);
    connection.start();
    this.#tickTimer ??= this.#scheduleTick();
    if (this.#logins.size <= unfinishedLoginsMax) return;
    const [oldest] = this.#logins;
    oldest?.onBreach('too many logins and discoveries are under way');
  }

  /** Every session, also those whose last commands are being ended. */
  sessions(): SessionInfo[] {
    return Array.from(this.#registry.all, describe);
  }

  /** Drops the sessions that match, without a word; their initiators may log in again. Returns how many. */
  drop(filter: (session: SessionInfo) => boolean): number {
    const matching = [...this.#registry.all].filter((session) => filter(describe(session)));
    for (const session of matching) session.drop();
    return matching.length;
  }

  /** Takes nobody in any more, asks the initiators to log out, closes; who is left after `withinMs` is dropped. */
  drain(withinMs: number, done: () => void): void {
    this.#isStopping = true;
    this.#onStopped = done;
    this.#stopTimer = this.timers.after(withinMs, () => {
      // Before they are dropped, upon which the last of them may be gone at once.
      this.#stopTimer = this.timers.after(drainGraceMs, () => {
        this.#stopped();
      });
      for (const connection of this.#connections) connection.drop();
      this.#checkStopped();
    });
    for (const connection of this.#connections) connection.drain(withinMs);
    this.#checkStopped();
  }

  // ---- what connections ask and tell

  hasSession(initiatorName: string, isid: Uint8Array, tsih: number): boolean {
    return this.#registry.has(initiatorName, isid, tsih);
  }

  admit(
    connection: Connection,
    candidate: LoginOutcome,
    done: (answer: Session | Refusal) => void,
  ): Session | undefined {
    const tsih = this.#registry.freeTsih();
    if (tsih === undefined || this.#isStopping) {
      done({ status: LoginStatus.outOfResources, reason: 'no further session is taken in' });
      return undefined;
    }
    const session = new Session({
      tsih,
      candidate,
      portal: connection.portal,
      address: connection.peer,
      sinceMs: this.#clock.wallMs(),
      target: this.shared.target,
      drop: () => {
        connection.drop();
      },
      onGone: (gone) => {
        this.#registry.remove(gone);
        this.#checkStopped();
      },
    });
    const before = this.#registry.add(session);
    if (before !== undefined) this.#noteReinstatement(session, before);
    session.open(before, () => {
      done(session);
    });
    return session;
  }

  onLoginOver(connection: Connection): void {
    this.#logins.delete(connection);
  }

  onLoggedIn(connection: Connection, outcome: LoginOutcome): void {
    if (outcome.kind === 'discovery') return;
    const { initiatorName, targetName, tsih } = outcome;
    const { peer } = connection;
    this.#log.info('iscsi session opened', { initiator: initiatorName, targetName, tsih, peer });
  }

  onRefused(connection: Connection, { initiatorName, reason, status }: RefusedLogin): void {
    const { peer } = connection;
    const who = initiatorName === '' ? 'an initiator without a name' : initiatorName;
    this.#warnings.warn(`iscsi login of ${who} from ${peer} refused: ${reason}`, {
      initiator: initiatorName,
      peer,
      status: status.toString(16).padStart(4, '0'),
    });
  }

  onBreach(connection: Connection, reason: string): void {
    this.#warnings.warn('iscsi connection dropped', { peer: connection.peer, reason });
  }

  onClosed(connection: Connection): void {
    this.#connections.delete(connection);
    this.#checkStopped();
  }

  // ---- ticks

  #scheduleTick(): Timer {
    return this.timers.after(tickMs, () => {
      this.#tickTimer = undefined;
      for (const connection of this.#connections) connection.tick();
      const { pool, target, limits } = this.shared;
      const crowded = { data: target.isStagingCrowded, output: pool.turnstile.isCrowded };
      dropStalled(this.#connections, crowded, limits.stallMs / tickMs);
      if (this.#connections.size > 0) this.#tickTimer ??= this.#scheduleTick();
    });
  }

  // ---- log

  #noteReinstatement(session: Session, before: Session): void {
    const { initiatorName } = session.candidate;
    const isid = formatIsid(session.candidate.isid);
    // Two hosts with one name and ISID (a clone) throw each other out for ever: somebody should see it.
    this.#warnings.warn('iscsi session replaced by a new login of the same initiator port', {
      initiator: initiatorName,
      isid,
      before: before.address,
      now: session.address,
    });
  }

  // ---- end

  #checkStopped(): void {
    const [session] = this.#registry.all;
    if (this.#isStopping && this.#connections.size === 0 && session === undefined) this.#stopped();
  }

  #stopped(): void {
    this.#stopTimer?.cancel();
    this.#tickTimer?.cancel();
    const done = this.#onStopped;
    this.#onStopped = undefined;
    done?.();
  }
}

function describe(session: Session): SessionInfo {
  const { candidate, portal, counters } = session;
  const { kind, initiatorName, initiatorAlias, targetName, host } = candidate;
  const at = portal.address.includes(':') ? `[${portal.address}]` : portal.address;
  return {
    id: session.tsih,
    kind,
    initiatorName,
    initiatorAlias,
    isid: formatIsid(candidate.isid),
    targetName,
    host,
    address: session.address,
    portal: `${at}:${portal.port}`,
    sinceMs: session.sinceMs,
    ...counters,
  };
}
