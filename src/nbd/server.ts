/**
 * NBD server: every connection, and what they share.
 *
 *     ByteStream ─accept─▶ Connection ─▶ Handshake ─▶ Transmission ─▶ BlockDevice
 *                              │                            │
 *                              └──── one turn list ─────────┘    replies of all connections leave at the end of a turn
 *
 * Shared memory (staging for payload, the output pool) is handed out in order of arrival. A connection that holds some
 * of it while others wait, and moves nothing for `stallMs`, is dropped: no client can slow down another for long.
 *
 * Invariants
 * 1. Every connection is in the set from accept until its export was given back.
 * 2. Connections, unfinished handshakes, memory and log lines are bounded (`limits.ts`).
 * 3. After `stop`, `done` is called once, within the time given.
 *
 * Listening is left to the host, exports and devices to the engine.
 */

import { OutputPool } from '../base/output-pool.ts';
import type { ByteStream, Log, Timer, Timers } from '../base/ports.ts';
import { dropStalled } from '../base/stalls.ts';
import { TurnList } from '../base/turn-list.ts';
import { Warnings } from '../base/warnings.ts';
import type { StagingDoor } from '../device/staging-door.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import type { NbdDoor } from './door.ts';
import type { NbdExports, NbdOpenExport } from './exports.ts';
import { type NbdLimits, nbdLimits } from './limits.ts';
import { TaskPool } from './task.ts';
import type { Shared } from './transmission.ts';

/** How often stalled connections are looked for while somebody waits for memory. */
const stallLooks = 5;

export interface NbdServerParts {
  readonly exports: NbdExports;
  /** Shared with the other front ends: one queue for the one memory. */
  readonly staging: StagingDoor;
  readonly timers: Timers;
  readonly log: Log;
  /** What differs from the usual limits. */
  readonly limits?: Partial<NbdLimits>;
}

export class NbdServer implements ConnectionOwner {
  readonly exports: NbdExports;
  readonly timers: Timers;
  readonly shared: Shared;
  readonly turns: TurnList;
  readonly #log: Log;
  readonly #warnings: Warnings;
  readonly #connections = new Set<Connection>();
  /** In order of arrival. */
  readonly #handshakes = new Set<Connection>();
  #nextId = 1;
  #stallTimer: Timer | undefined;
  #isStopping = false;
  #stopTimer: Timer | undefined;
  #onStopped: (() => void) | undefined;

  constructor(parts: NbdServerParts) {
    const limits = { ...nbdLimits, ...parts.limits };
    this.exports = parts.exports;
    this.timers = parts.timers;
    this.turns = new TurnList(parts.timers);
    this.#log = parts.log;
    this.#warnings = new Warnings(parts.log, parts.timers, 'nbd');
    this.shared = {
      limits,
      pool: new OutputPool(limits),
      staging: parts.staging,
      tasks: new TaskPool(),
    };
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Takes over a connected stream that came through `door`. */
  accept(stream: ByteStream, door: NbdDoor): void {
    if (this.#isStopping || this.#connections.size >= this.shared.limits.connectionsMax) {
      stream.destroy();
      return;
    }
    const connection = new Connection(this.#nextId, stream, door, this);
    // The id is logged as 32 bits.
    this.#nextId = this.#nextId === 0xffffffff ? 1 : this.#nextId + 1;
    this.#connections.add(connection);
    this.#handshakes.add(connection);
    connection.start();
    if (this.#handshakes.size <= this.shared.limits.unfinishedHandshakesMax) return;
    const [oldest] = this.#handshakes;
    oldest?.onBreach('too many handshakes are under way');
  }

  /**
   * Drops the connections that these were opened for. The device may still finish requests of theirs. Names do not tell:
   * an export may have been renamed, and another may have its old name.
   */
  disconnect(opened: ReadonlySet<NbdOpenExport>): void {
    for (const connection of this.#connections) {
      const { openExport } = connection;
      if (openExport !== undefined && opened.has(openExport)) connection.drop();
    }
  }

  /** Drops every connection that came through the door: what it asks of clients has changed. */
  disconnectDoor(door: NbdDoor): void {
    for (const connection of this.#connections) {
      if (connection.door === door) connection.drop();
    }
  }

  /** Refuses new requests, finishes those in flight, closes; what is not closed after `withinMs` is dropped. */
  stop(withinMs: number, done: () => void): void {
    this.#isStopping = true;
    this.#onStopped = done;
    this.#stopTimer = this.timers.after(withinMs, () => {
      for (const connection of this.#connections) connection.drop();
      this.#stopped();
    });
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) this.#stopped();
  }

  onCrowded(): void {
    this.#stallTimer ??= this.#scheduleStallTick();
  }

  onHandshakeOver(connection: Connection): void {
    this.#handshakes.delete(connection);
  }

  onOpened(connection: Connection): void {
    const { id, peer, exportName, identity, tlsProtocol } = connection;
    this.#log.info('nbd client opened an export', {
      connection: id,
      peer,
      export: exportName,
      ...(tlsProtocol === undefined ? {} : { tls: tlsProtocol }),
      ...(identity === undefined ? {} : { identity }),
    });
  }

  onBreach(connection: Connection, reason: string): void {
    const { id, peer } = connection;
    this.#warnings.warn('nbd client dropped', { connection: id, peer, reason });
  }

  onGone(connection: Connection): void {
    this.#connections.delete(connection);
    if (connection.isInTransmission) {
      this.#log.info('nbd client left', { connection: connection.id, peer: connection.peer });
    }
    if (this.#isStopping && this.#connections.size === 0) this.#stopped();
  }

  #scheduleStallTick(): Timer {
    return this.timers.after(this.shared.limits.stallMs / stallLooks, () => {
      this.#stallTimer = undefined;
      this.#dropStalled();
    });
  }

  #dropStalled(): void {
    const { pool, staging } = this.shared;
    const crowded = { data: staging.isCrowded, output: pool.turnstile.isCrowded };
    if (!crowded.data && !crowded.output) return;
    dropStalled(this.#connections, crowded, stallLooks);
    this.onCrowded();
  }

  #stopped(): void {
    this.#stopTimer?.cancel();
    this.#stallTimer?.cancel();
    const done = this.#onStopped;
    this.#onStopped = undefined;
    done?.();
  }
}
