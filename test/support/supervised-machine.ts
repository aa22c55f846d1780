/** A machine in virtual time on which a supervisor starts engines, which do what a test says. */
import { OperationError } from '../../src/base/errors.ts';
import {
  type EngineDoor,
  type EngineExit,
  type EngineProcess,
  EngineSupervisor,
  type SupervisorHost,
} from '../../src/control/supervisor.ts';
import { EngineGoneError } from '../../src/engine/client.ts';
import type { IscsiListening, NbdListen, NbdListening, NbdTls } from '../../src/engine/protocol.ts';
import { VirtualTime } from './virtual-time.ts';

/** How an engine that is started behaves. */
export interface Behaviour {
  /** Ends at once with this, instead of serving. */
  readonly exit?: EngineExit;
  /** Serves only after this time. */
  readonly recoveryMs?: number;
  /** What `listen` throws. */
  readonly listenError?: OperationError;
  /** Does not end when it is told to stop. */
  readonly ignoresStop?: boolean;
  /** Is of a version from before there was TLS. */
  readonly ignoresTls?: boolean;
}

class Engine {
  readonly pid: number;
  readonly behaviour: Behaviour;
  readonly readyAtMs: number;
  readonly exited = Promise.withResolvers<EngineExit>();
  readonly closed = Promise.withResolvers<void>();
  isAlive = true;
  nbd: NbdListening = {};
  /** What it was told to listen on last. */
  wanted: NbdListen = {};

  constructor(pid: number, behaviour: Behaviour, nowMs: number) {
    this.pid = pid;
    this.behaviour = behaviour;
    this.readyAtMs = nowMs + (behaviour.recoveryMs ?? 0);
    if (behaviour.exit !== undefined) this.end(behaviour.exit);
  }

  end(exit: EngineExit): void {
    this.isAlive = false;
    this.closed.resolve();
    this.exited.resolve(exit);
  }
}

/** What an engine does whose pool another process has open. */
const lockedBehaviour: Behaviour = { exit: { code: 3, signal: undefined } };

/** A machine on which engines run: what they do is the list of behaviours, one per start. */
export class Machine implements SupervisorHost {
  readonly time = new VirtualTime();
  readonly timers = this.time;
  readonly clock = this.time;
  readonly random = { fill: (target: Uint8Array): void => void target.fill(0) };
  readonly engines: Engine[] = [];
  readonly lines: string[] = [];
  readonly signals: string[] = [];
  readonly log = {
    info: (message: string): void => this.#line(message),
    warn: (message: string): void => this.#line(message),
    error: (message: string): void => this.#line(message),
  };
  /** For each time that an engine was told about iSCSI: which one, its NBD port by then, and the target it had open before. */
  readonly configured: unknown[] = [];
  iscsiError: OperationError | undefined;
  /** An engine that was started before the supervisor. */
  ahead: Engine | undefined;
  readonly #behaviours: Behaviour[];

  constructor(...behaviours: Behaviour[]) {
    this.#behaviours = behaviours;
  }

  get engine(): Engine {
    const last = this.engines.at(-1);
    if (last === undefined) throw new Error('no engine was started');
    return last;
  }

  run(): Engine {
    const isLocked = this.engines.some((each) => each.isAlive);
    const behaviour = isLocked ? lockedBehaviour : (this.#behaviours.shift() ?? {});
    const engine = new Engine(100 + this.engines.length, behaviour, this.time.monotonicMs());
    this.engines.push(engine);
    return engine;
  }

  takeAhead(): EngineProcess | undefined {
    const engine = this.ahead;
    this.ahead = undefined;
    return engine && processOf(engine);
  }

  async spawn(): Promise<EngineProcess> {
    return await Promise.resolve(processOf(this.run()));
  }

  async connect(): Promise<EngineDoor> {
    await Promise.resolve();
    const engine = this.engines.find(
      (each) => each.isAlive && each.readyAtMs <= this.time.monotonicMs(),
    );
    if (engine === undefined) throw new OperationError('unavailable', 'nothing answers');
    return doorOf(engine);
  }

  isAlive(pid: number): boolean {
    return this.engines.some((each) => each.pid === pid && each.isAlive);
  }

  signal(pid: number, signal: string): void {
    this.signals.push(`${signal} ${pid}`);
    this.engines.find((each) => each.pid === pid)?.end({ code: undefined, signal });
  }

  logText(): string {
    return `${JSON.stringify({ msg: 'first words' })}\n${JSON.stringify({ msg: 'last words' })}\n`;
  }

  #line(message: string): void {
    this.lines.push(message);
  }
}

function processOf(engine: Engine): EngineProcess {
  return { pid: engine.pid, exited: engine.exited.promise };
}

function doorOf(engine: Engine): EngineDoor {
  const answer = async (method: string, params: unknown): Promise<unknown> => {
    await Promise.resolve();
    if (!engine.isAlive) throw new EngineGoneError('closed');
    if (method === 'hello')
      return {
        pool: 'main',
        pid: engine.pid,
        startedMs: 1,
        version: 'x',
        nbd: engine.nbd,
        iscsi: { targetName: `target-${engine.pid}`, portals: [] },
      };
    if (method === 'listen') {
      if (engine.behaviour.listenError !== undefined) throw engine.behaviour.listenError;
      engine.wanted = (params as { nbd: NbdListen }).nbd;
      engine.nbd = openedPorts(engine.wanted, engine.behaviour.ignoresTls !== true);
      return { nbd: engine.nbd };
    }
    if (method === 'stop' && engine.behaviour.ignoresStop !== true) {
      engine.end({ code: 0, signal: undefined });
    }
    return {};
  };
  return {
    closed: engine.closed.promise,
    // The engine of this test answers every method in its own shape.
    call: answer as EngineDoor['call'],
    close: () => {
      engine.closed.resolve();
    },
  };
}

/** Port 0 becomes 4711, as if the kernel had picked it. */
function openedPorts({ tcp, socketPath }: NbdListen, knowsTls: boolean): NbdListening {
  const socket = socketPath === undefined ? {} : { socketPath };
  if (tcp === undefined) return socket;
  const secured = tcp.tls === undefined || !knowsTls ? {} : { tls: 'required' as const };
  const port = tcp.port === 0 ? 4711 : tcp.port;
  return { ...socket, tcp: { address: tcp.address, port, ...secured } };
}

export function supervisorOn(
  machine: Machine,
  secured: { readonly tls?: NbdTls } = {},
): EngineSupervisor {
  const nbd = { tcp: { address: '127.0.0.1', port: 0, ...secured } };
  const configureIscsi = async (
    _door: unknown,
    open: IscsiListening | undefined,
  ): Promise<void> => {
    await Promise.resolve();
    machine.configured.push([machine.engine.pid, machine.engine.nbd.tcp?.port, open?.targetName]);
    if (machine.iscsiError !== undefined) throw machine.iscsiError;
  };
  return new EngineSupervisor(
    { pool: 'main', nbd, logPath: '/d/main.log', configureIscsi },
    machine,
  );
}

/** Starts, lets time pass, and returns what came of it: undefined, or the error. */
export async function started(
  supervisor: EngineSupervisor,
  machine: Machine,
  passMs: number,
): Promise<unknown> {
  const outcome = supervisor.start().then(
    () => undefined,
    (error: unknown) => error,
  );
  await machine.time.pass(passMs);
  return await outcome;
}
