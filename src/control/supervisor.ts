/**
 * Keeps one engine running and the daemon attached to it, without ever standing in the way of I/O.
 *
 *                 ┌──────────────── attach: does an engine answer on NAME.sock? ◀───────────────┐
 *                 │ yes                              │ no                                       │
 *                 │                               spawn ──▶ ended before it answered ──▶ back off
 *                 ▼                                  │ answers                                  ▲
 *     attached: listeners set, calls go through ◀────┘                                          │
 *                 └── connection closed ──▶ say how it ended, with the last lines of its log ────┘
 *
 * Invariants: at most one engine is being started at a time; an engine that answers is never replaced, whoever started
 * it; only `stop` ends one. Exit code 3 (another process has the pool) means: wait for that one to answer, and give up
 * with its name if it never does. Exit code 4 (the pool is refused) is final: starting again cannot change it.
 */
import { OperationError, toError } from '../base/errors.ts';
import type { Clock, Log, Random, Timers } from '../base/ports.ts';
import { type CallOptions, EngineGoneError } from '../engine/client.ts';
import type {
  EngineMethod,
  EngineMethods,
  IscsiListening,
  NbdListen,
  NbdListening,
} from '../engine/protocol.ts';
import { RestartBackoff } from './backoff.ts';
import { lastWords, mainReason } from './last-words.ts';
import {
  ATTACH_POLL_MS,
  ATTACH_REPORT_MS,
  EXIT_GRACE_MS,
  FIRST_START_ATTEMPTS_MAX,
  HELLO_TIMEOUT_MS,
  LOCKED_PATIENCE_MS,
  STOP_GRACE_MS,
} from './limits.ts';

/** A connection to an engine; `EngineClient` is one. */
export interface EngineDoor {
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  call<M extends EngineMethod>(
    method: M,
    params: EngineMethods[M]['params'],
    options?: CallOptions,
  ): Promise<EngineMethods[M]['result']>;
  close(): void;
}

export interface EngineExit {
  readonly code: number | undefined;
  readonly signal: string | undefined;
}

export interface EngineProcess {
  readonly pid: number;
  readonly exited: Promise<EngineExit>;
}

/** What the supervisor needs of the world. */
export interface SupervisorHost {
  /** Connects to the engine's socket; rejects when nobody answers. */
  connect(): Promise<EngineDoor>;
  /** An engine that was started before there was a supervisor: taken once, as if it had been spawned now. */
  takeAhead(): EngineProcess | undefined;
  spawn(): Promise<EngineProcess>;
  isAlive(pid: number): boolean;
  signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void;
  /** What the engine that was spawned last has written to its log. */
  logText(): string;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export interface SupervisorSettings {
  readonly pool: string;
  readonly nbd: NbdListen;
  /** For messages: where the engine's log is. */
  readonly logPath: string;
  /** Tells an engine that was attached to all about iSCSI, of which `open` is open already. Rejects when it must be tried again. */
  readonly configureIscsi: (door: EngineDoor, open: IscsiListening | undefined) => Promise<void>;
}

export interface EngineInfo {
  readonly pid: number;
  readonly startedMs: number;
  readonly restartCount: number;
  /** What is open, with the port that was picked when 0 was asked for. */
  readonly nbd: NbdListening;
}

interface Session {
  readonly door: EngineDoor;
  readonly pid: number;
  readonly startedMs: number;
  /** Absent when an earlier daemon started this engine. */
  readonly child: EngineProcess | undefined;
  nbd: NbdListening;
  /** What iSCSI had open when it was attached to. */
  readonly iscsi: IscsiListening | undefined;
}

const EXIT_POOL_LOCKED = 3;
const EXIT_POOL_REFUSED = 4;

export class EngineSupervisor {
  readonly #settings: SupervisorSettings;
  readonly #host: SupervisorHost;
  readonly #backoff: RestartBackoff;
  readonly #firstAttach = Promise.withResolvers<void>();
  #wantedNbd: NbdListen;
  #session: Session | undefined;
  /** The engine being started now. */
  #child: EngineProcess | undefined;
  #hasAttached = false;
  #isStopping = false;
  /** The engine goes on without us: nobody waits for its end. */
  #isAbandoning = false;
  #restartCount = 0;
  #failedStartCount = 0;
  /** Why there is no engine to talk to, in a sentence. */
  #absence = 'the engine is starting';
  #wakeSleeper: (() => void) | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(settings: SupervisorSettings, host: SupervisorHost) {
    this.#settings = settings;
    this.#host = host;
    this.#backoff = new RestartBackoff(host.random);
    this.#wantedNbd = settings.nbd;
  }

  /**
   * Attaches to the running engine or starts one; resolves when it serves. Rejects with OperationError when the first
   * start is hopeless: pool locked or refused, listeners that cannot be opened, crash after crash.
   */
  async start(): Promise<void> {
    this.#loop = this.#run().finally(() => {
      // Whoever still waits for the first start learns that it will not come; after it, this changes nothing.
      this.#firstAttach.reject(new OperationError('unavailable', 'the daemon is stopping'));
    });
    await this.#firstAttach.promise;
  }

  /** Calls the engine. Rejects with OperationError `unavailable` while there is none. */
  async call<M extends EngineMethod>(
    method: M,
    params: EngineMethods[M]['params'],
    options?: CallOptions,
  ): Promise<EngineMethods[M]['result']> {
    return await this.#attached().door.call(method, params, options);
  }

  /** Throws OperationError `unavailable` while there is no engine. */
  info(): EngineInfo {
    const { pid, startedMs, nbd } = this.#attached();
    return { pid, startedMs, nbd, restartCount: this.#restartCount };
  }

  /**
   * Asks the engine to drain, seal and close; one that is not gone after `withinMs` and a grace is killed, which costs
   * the next start a recovery and nothing else.
   */
  async stop(withinMs: number): Promise<void> {
    this.#isStopping = true;
    this.#absence = 'the engine is stopping';
    this.#wakeSleeper?.();
    const session = this.#session;
    if (session !== undefined) await this.#stopSession(session, withinMs);
    else if (this.#child !== undefined) await this.#stopChild(this.#child, withinMs);
    await this.#loop;
  }

  /** Lets go of an engine that this daemon did not start; ends one that it did. */
  async abandon(withinMs: number): Promise<void> {
    if (this.#session !== undefined && this.#session.child === undefined) {
      this.#isStopping = true;
      this.#isAbandoning = true;
      this.#session.door.close();
      await this.#loop;
      return;
    }
    await this.stop(withinMs);
  }

  /** A method, because it changes during every wait. */
  #mustStop(): boolean {
    return this.#isStopping;
  }

  #attached(): Session {
    if (this.#session !== undefined && !this.#mustStop()) return this.#session;
    const hint = `look into ${this.#settings.logPath}`;
    throw new OperationError('unavailable', this.#absence, hint);
  }

  async #run(): Promise<void> {
    const startedMs = this.#host.clock.monotonicMs();
    while (!this.#mustStop()) {
      const attempt = await this.#bringUp();
      const attachedMs = this.#host.clock.monotonicMs();
      const end = 'door' in attempt ? await this.#serve(attempt) : attempt;
      if (this.#mustStop()) return;
      const hopeless = this.#hopeless(end, this.#host.clock.monotonicMs() - startedMs);
      if (hopeless !== undefined) {
        this.#giveUp(hopeless);
        return;
      }
      const uptimeMs = 'door' in attempt ? this.#host.clock.monotonicMs() - attachedMs : 0;
      const delayMs = this.#backoff.delayMs(uptimeMs);
      this.#report(end, delayMs);
      await this.#sleep(delayMs);
      this.#restartCount += 1;
    }
  }

  /** A session with an engine that answers, or how the one that was started ended instead. */
  async #bringUp(): Promise<Session | EngineExit> {
    const ahead = this.#host.takeAhead();
    if (ahead !== undefined) return await this.#bringUpChild(ahead);
    const running = await this.#tryAttach(undefined);
    if (running !== undefined) {
      const message = `attached to the engine of pool ${this.#settings.pool} that was running (process ${running.pid})`;
      this.#host.log.info(message, { enginePid: running.pid });
      return running;
    }
    if (this.#mustStop()) return { code: undefined, signal: undefined };
    let child: EngineProcess;
    try {
      child = await this.#host.spawn();
    } catch (thrown) {
      this.#host.log.error(toError(thrown).message);
      return { code: undefined, signal: undefined };
    }
    return await this.#bringUpChild(child);
  }

  async #bringUpChild(child: EngineProcess): Promise<Session | EngineExit> {
    this.#child = child;
    const outcome = await this.#attachTo(child);
    this.#child = undefined;
    return outcome;
  }

  async #attachTo(child: EngineProcess): Promise<Session | EngineExit> {
    let exit: EngineExit | undefined;
    void child.exited.then((seen) => {
      exit = seen;
      this.#wakeSleeper?.();
    });
    const sinceMs = this.#host.clock.monotonicMs();
    let reportAtMs = sinceMs + ATTACH_REPORT_MS;
    for (;;) {
      const session = await this.#tryAttach(child);
      if (session !== undefined) return session;
      if (exit !== undefined) return exit;
      const nowMs = this.#host.clock.monotonicMs();
      if (nowMs >= reportAtMs) {
        const seconds = Math.round((nowMs - sinceMs) / 1000);
        this.#absence = `the engine is opening pool ${this.#settings.pool} (${seconds} s so far)`;
        this.#host.log.info(this.#absence);
        reportAtMs = nowMs + ATTACH_REPORT_MS;
      }
      await this.#sleep(ATTACH_POLL_MS);
    }
  }

  /** `child` is the engine started just now; another one may answer in its place. */
  async #tryAttach(child: EngineProcess | undefined): Promise<Session | undefined> {
    let door: EngineDoor;
    try {
      door = await this.#host.connect();
    } catch {
      // Nobody listens (yet): the caller starts an engine or tries again.
      return undefined;
    }
    try {
      const hello = await door.call('hello', {}, { timeoutMs: HELLO_TIMEOUT_MS });
      const { pid, startedMs, nbd, iscsi } = hello;
      return { door, pid, startedMs, nbd, iscsi, child: child?.pid === pid ? child : undefined };
    } catch (thrown) {
      const reason = toError(thrown).message;
      this.#host.log.warn(`the engine of pool ${this.#settings.pool} does not say hello`, {
        reason,
      });
      door.close();
      return undefined;
    }
  }

  /** Has the engine serve until it is gone; returns how it ended. */
  async #serve(session: Session): Promise<EngineExit> {
    this.#session = session;
    this.#failedStartCount = 0;
    // `stop` may have been asked for while the engine was being attached, and found nothing to stop.
    if (this.#mustStop()) await this.#stopSession(session, STOP_GRACE_MS);
    else void this.#keepListening(session);
    await session.door.closed;
    const exit = await this.#exitOf(session);
    this.#session = undefined;
    return exit;
  }

  /** Sets the listeners of NBD, then hosts and portals of iSCSI; at the first start a failure is the operator's to solve, later it is tried again. */
  async #keepListening(session: Session): Promise<void> {
    const backoff = new RestartBackoff(this.#host.random);
    while (!this.#mustStop() && this.#session === session) {
      try {
        const nbd = keepPickedPort(this.#wantedNbd, session.nbd);
        const opened = await session.door.call('listen', { nbd });
        checkSecured(nbd, opened.nbd);
        session.nbd = opened.nbd;
        // A port that was picked stays, so that clients find the engine again after a restart.
        this.#wantedNbd = keepPickedPort(this.#wantedNbd, opened.nbd);
        await this.#settings.configureIscsi(session.door, session.iscsi);
        this.#announce(session);
        return;
      } catch (thrown) {
        if (this.#mustStop() || this.#session !== session) return;
        const error = toError(thrown);
        if (!this.#hasAttached && !(error instanceof EngineGoneError)) {
          this.#firstAttach.reject(error);
          return;
        }
        const delayMs = backoff.delayMs(0);
        this.#host.log.error(`listeners: ${error.message}; trying again in ${delayMs} ms`);
        await this.#pause(delayMs);
      }
    }
  }

  #announce(session: Session): void {
    const { pid } = session;
    if (this.#hasAttached) {
      this.#host.log.info(`the engine serves pool ${this.#settings.pool} again (process ${pid})`, {
        enginePid: pid,
      });
    } else {
      this.#host.log.info(`the engine serves pool ${this.#settings.pool} (process ${pid})`, {
        enginePid: pid,
      });
    }
    this.#hasAttached = true;
    this.#firstAttach.resolve();
  }

  /** How the process behind a closed connection ended; of one that an earlier daemon started, only that it did. */
  async #exitOf(session: Session): Promise<EngineExit> {
    const unknown: EngineExit = { code: undefined, signal: undefined };
    if (this.#isAbandoning) return unknown;
    if (session.child !== undefined) {
      return (await this.#within(session.child.exited, EXIT_GRACE_MS)) ?? unknown;
    }
    const polls = EXIT_GRACE_MS / ATTACH_POLL_MS;
    for (let count = 0; count < polls && this.#host.isAlive(session.pid); count += 1) {
      await this.#pause(ATTACH_POLL_MS);
    }
    return unknown;
  }

  /** The error to give up with, or undefined when another start may help. */
  #hopeless(end: EngineExit, sinceStartMs: number): OperationError | undefined {
    const { pool, logPath } = this.#settings;
    const words = lastWords(this.#host.logText());
    if (end.code === EXIT_POOL_REFUSED) {
      // The engine's last line is a whole sentence, with the name of the pool.
      return new OperationError('unavailable', mainReason(words), `look into ${logPath}`);
    }
    if (this.#hasAttached) return undefined;
    if (end.code === EXIT_POOL_LOCKED) {
      if (sinceStartMs < LOCKED_PATIENCE_MS) return undefined;
      const message = `pool ${pool} is open in another process that does not answer on its control socket`;
      return new OperationError('conflict', message, 'end that process, then start again');
    }
    this.#failedStartCount += 1;
    if (this.#failedStartCount < FIRST_START_ATTEMPTS_MAX) return undefined;
    const message = `the engine of pool ${pool} ended ${this.#failedStartCount} times before it served (${exitText(end)}): ${mainReason(words)}`;
    return new OperationError('unavailable', message, `look into ${logPath}`);
  }

  #giveUp(error: OperationError): void {
    this.#absence = error.message;
    this.#firstAttach.reject(error);
    if (this.#hasAttached) this.#host.log.error(error.message);
  }

  #report(end: EngineExit, delayMs: number): void {
    const { pool, logPath } = this.#settings;
    if (end.code === EXIT_POOL_LOCKED) {
      const message = `pool ${pool} is open in another process; waiting for it to answer`;
      if (this.#absence !== message) this.#host.log.warn(message);
      this.#absence = message;
      return;
    }
    const words = lastWords(this.#host.logText());
    const message = `the engine of pool ${pool} ended (${exitText(end)})`;
    this.#absence = `${message} and is being started again`;
    const when = delayMs === 0 ? 'at once' : `in ${delayMs} ms`;
    this.#host.log.error(`${message}; starting it again ${when}`, { ...end, logPath });
    for (const word of words) this.#host.log.error(`  engine: ${word}`);
  }

  async #stopSession(session: Session, withinMs: number): Promise<void> {
    const gone = session.door.closed.then(async () => await this.#exitOf(session)).then(() => true);
    session.door
      .call('stop', { withinMs }, { timeoutMs: withinMs + STOP_GRACE_MS })
      .catch((thrown: unknown) => {
        // The connection may close before the answer is read; what counts is whether the process goes.
        this.#host.log.info('engine stop', { answer: toError(thrown).message });
      });
    if ((await this.#within(gone, withinMs + STOP_GRACE_MS)) === true) return;
    this.#host.log.warn(
      `the engine did not stop within ${withinMs} ms; killing process ${session.pid}`,
    );
    this.#host.signal(session.pid, 'SIGKILL');
    session.door.close();
  }

  async #stopChild(child: EngineProcess, withinMs: number): Promise<void> {
    this.#host.signal(child.pid, 'SIGTERM');
    const exit = await this.#within(child.exited, withinMs);
    if (exit === undefined) this.#host.signal(child.pid, 'SIGKILL');
  }

  /** A wait that `stop` and an engine's end cut short. */
  async #sleep(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#host.timers.after(delayMs, resolve);
      this.#wakeSleeper = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#wakeSleeper = undefined;
  }

  /** What `outcome` resolves to, or undefined when that takes longer than `limitMs`. */
  async #within<T>(outcome: Promise<T>, limitMs: number): Promise<T | undefined> {
    return await new Promise((resolve, reject) => {
      const timer = this.#host.timers.after(limitMs, () => {
        resolve(undefined);
      });
      outcome.then(resolve, reject).finally(() => {
        timer.cancel();
      });
    });
  }

  async #pause(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#host.timers.after(delayMs, resolve);
    });
  }
}

/** "Any port" is what the engine has open already: clients of an engine that is attached to again stay where they are. */
function keepPickedPort(wanted: NbdListen, open: NbdListening): NbdListen {
  const { tcp } = wanted;
  if (tcp?.port !== 0 || open.tcp?.address !== tcp.address) return wanted;
  return { ...wanted, tcp: { ...tcp, port: open.tcp.port } };
}

/** An engine of an older version, attached to, would ignore what it does not know and listen in the clear. */
function checkSecured(wanted: NbdListen, open: NbdListening): void {
  if (wanted.tcp?.tls === undefined || open.tcp?.tls === 'required') return;
  const message = 'the running engine does not know TLS and listens in the clear';
  throw new OperationError('unavailable', message, 'stop it, and start this version');
}

function exitText(end: EngineExit): string {
  if (end.signal !== undefined) return `killed by ${end.signal}`;
  return end.code === undefined ? 'how is not known' : `exit code ${end.code}`;
}
