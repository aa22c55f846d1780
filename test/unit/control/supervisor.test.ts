import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import {
  type EngineDoor,
  type EngineExit,
  EngineSupervisor,
  type SupervisorHost,
} from '../../../src/control/supervisor.ts';
import { EngineGoneError } from '../../../src/engine/client.ts';
import type {
  IscsiListening,
  NbdListen,
  NbdListening,
  NbdTls,
} from '../../../src/engine/protocol.ts';
import { matching } from '../../support/matching.ts';
import { settled, VirtualTime } from '../../support/virtual-time.ts';

/** How an engine that is started behaves. */
interface Behaviour {
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
class Machine implements SupervisorHost {
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

  async spawn(): Promise<{ pid: number; exited: Promise<EngineExit> }> {
    const engine = this.run();
    return await Promise.resolve({ pid: engine.pid, exited: engine.exited.promise });
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

const tls = { certificatePem: 'certificate', keyPem: 'key' };

function supervisorOn(machine: Machine, secured: { readonly tls?: NbdTls } = {}): EngineSupervisor {
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
async function started(
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

describe('the supervisor, starting', () => {
  it('starts an engine when none answers, and sets its listeners', async () => {
    const machine = new Machine({ recoveryMs: 300 });
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 400)).toBeUndefined();
    expect(supervisor.info()).toMatchObject({
      pid: 100,
      restartCount: 0,
      nbd: { tcp: { address: '127.0.0.1', port: 4711 } },
    });
    await supervisor.stop(1000);
  });

  it('attaches to an engine that runs already, and starts none', async () => {
    const machine = new Machine();
    machine.run();
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 0)).toBeUndefined();
    expect(machine.engines).toHaveLength(1);
    expect(machine.lines.join()).toContain('was running (process 100)');
  });

  it('keeps the port that a running engine has open when any port will do', async () => {
    const machine = new Machine();
    machine.run().nbd = { tcp: { address: '127.0.0.1', port: 5000 } };
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    expect(machine.engine.nbd.tcp?.port).toBe(5000);
    expect(supervisor.info().nbd.tcp?.port).toBe(5000);
  });

  it('is under way when an engine was started, was found running, or could not be started', async () => {
    const recovering = new Machine({ recoveryMs: 25_000 });
    const refused = new Machine();
    refused.spawn = async () => await Promise.reject(new OperationError('unavailable', 'no'));
    const running = new Machine();
    running.run();
    for (const [machine, engines] of [
      [recovering, 1],
      [refused, 0],
      [running, 1],
    ] as const) {
      const supervisor = supervisorOn(machine);
      void supervisor.start().catch(() => undefined);
      await supervisor.underWay;
      expect(machine.engines).toHaveLength(engines);
    }
  });

  it('says that the engine is not there yet while it recovers', async () => {
    const machine = new Machine({ recoveryMs: 25_000 });
    const supervisor = supervisorOn(machine);
    const outcome = supervisor.start();
    await machine.time.pass(21_000);
    await expect(supervisor.call('poolStatus', {})).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the engine is opening pool main (20 s so far)',
    });
    await machine.time.pass(5000);
    await outcome;
  });

  it('gives up at once, with the reason, when the pool is refused', async () => {
    const machine = new Machine({ exit: { code: 4, signal: undefined } });
    const error = await started(supervisorOn(machine), machine, 0);
    expect(error).toMatchObject({ message: 'last words' });
    expect(machine.engines).toHaveLength(1);
  });

  it('waits for the owner of a locked pool to answer', async () => {
    const machine = new Machine({ recoveryMs: 3000 });
    machine.run();
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 5000)).toBeUndefined();
    expect(supervisor.info().pid).toBe(100);
  });

  it('gives up when the owner of a locked pool does not answer for 10 s', async () => {
    const machine = new Machine({ recoveryMs: 60_000 });
    machine.run();
    const error = await started(supervisorOn(machine), machine, 30_000);
    expect(error).toMatchObject({ code: 'conflict' });
    expect(machine.time.monotonicMs()).toBeGreaterThan(10_000);
  });

  it('gives up after five engines that ended before they served, with the last words', async () => {
    const crash = { exit: { code: 1, signal: undefined } };
    const machine = new Machine(crash, crash, crash, crash, crash, crash);
    const error = await started(supervisorOn(machine), machine, 60_000);
    expect(error).toMatchObject({
      code: 'unavailable',
      message: matching(/ended 5 times .*exit code 1.*last words/),
    });
    expect(machine.engines).toHaveLength(5);
  });

  it('gives up when the engine cannot open the listeners', async () => {
    const listenError = new OperationError('conflict', 'port 1 is in use');
    const machine = new Machine({ listenError });
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 0)).toBe(listenError);
    await supervisor.abandon(1000);
    expect(machine.engine.isAlive).toBe(false);
  });

  it('leaves an engine alone that it did not start', async () => {
    const listenError = new OperationError('conflict', 'port 1 is in use');
    const machine = new Machine({ listenError });
    machine.run();
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 0)).toBe(listenError);
    await supervisor.abandon(1000);
    expect(machine.engine.isAlive).toBe(true);
  });
});

describe('the supervisor, with TLS', () => {
  it('asks every engine for it, also the one after the first', async () => {
    const machine = new Machine();
    const supervisor = supervisorOn(machine, { tls });
    expect(await started(supervisor, machine, 0)).toBeUndefined();
    expect(machine.engine.wanted.tcp?.tls).toEqual(tls);
    expect(supervisor.info().nbd.tcp).toEqual({
      address: '127.0.0.1',
      port: 4711,
      tls: 'required',
    });
    machine.engine.end({ code: undefined, signal: 'SIGKILL' });
    await machine.time.pass(1000);
    expect(machine.engines).toHaveLength(2);
    expect(machine.engine.wanted).toEqual({ tcp: { address: '127.0.0.1', port: 4711, tls } });
    await supervisor.stop(1000);
  });

  it('does not start over a running engine that would listen in the clear', async () => {
    const machine = new Machine({ ignoresTls: true });
    machine.run();
    const supervisor = supervisorOn(machine, { tls });
    expect(await started(supervisor, machine, 0)).toMatchObject({
      code: 'unavailable',
      message: 'the running engine does not know TLS and listens in the clear',
    });
    await supervisor.abandon(1000);
  });
});

describe('the supervisor, when an engine ends', () => {
  it('says how and with which last words, waits, and starts another with the same port', async () => {
    const machine = new Machine();
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: undefined, signal: 'SIGKILL' });
    await machine.time.pass(99);
    expect(machine.engines).toHaveLength(1);
    await expect(supervisor.call('poolStatus', {})).rejects.toMatchObject({ code: 'unavailable' });
    await machine.time.pass(1);
    expect(machine.engines).toHaveLength(2);
    expect(supervisor.info()).toMatchObject({ pid: 101, restartCount: 1 });
    expect(supervisor.info().nbd.tcp?.port).toBe(4711);
    expect(machine.lines).toContain(
      'the engine of pool main ended (killed by SIGKILL); starting it again in 100 ms',
    );
    expect(machine.lines).toContain('  engine: last words');
    expect(machine.lines).toContain('the engine serves pool main again (process 101)');
  });

  it('waits longer each time, and never gives up once it has served', async () => {
    const crash = { exit: { code: 1, signal: undefined } };
    const machine = new Machine({}, ...Array.from({ length: 12 }, () => crash), {});
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(100_000);
    expect(machine.engines).toHaveLength(14);
    expect(supervisor.info().restartCount).toBe(13);
    const delays = machine.lines.map((line) => /again in (\d+) ms/.exec(line)?.[1] ?? '');
    expect(delays.filter((delay) => delay !== '').slice(0, 9)).toEqual(
      '100 200 400 800 1600 3200 6400 10000 10000'.split(' '),
    );
  });

  it('stops trying when the pool is refused, and says so to whoever asks', async () => {
    const machine = new Machine({}, { exit: { code: 4, signal: undefined } });
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(60_000);
    expect(machine.engines).toHaveLength(2);
    await expect(supervisor.call('poolStatus', {})).rejects.toMatchObject({
      message: 'last words',
    });
  });

  it('does so also for an engine that an earlier daemon started', async () => {
    const machine = new Machine();
    machine.run();
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(5000);
    expect(machine.lines.join()).toContain('ended (how is not known)');
    expect(supervisor.info().pid).toBe(101);
  });

  it('tells every engine about iSCSI once NBD listens, with what it had open before', async () => {
    const machine = new Machine();
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(5000);
    expect(machine.configured).toEqual([
      [100, 4711, 'target-100'],
      [101, 4711, 'target-101'],
    ]);
  });

  it('tries iSCSI again that cannot be opened after a restart, and leaves it to the operator at the first start', async () => {
    const machine = new Machine();
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.iscsiError = new OperationError('unavailable', 'iSCSI: port in use');
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(1000);
    const tries = machine.lines.filter((line) => line.startsWith('listeners: iSCSI: port in use'));
    expect(tries.length).toBeGreaterThan(2);
    expect(supervisor.info().pid).toBe(101);
    const first = new Machine();
    first.iscsiError = machine.iscsiError;
    expect(await started(supervisorOn(first), first, 100)).toBe(machine.iscsiError);
  });

  it('tries listeners again that cannot be opened after a restart', async () => {
    const machine = new Machine({}, { listenError: new OperationError('conflict', 'port in use') });
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(1000);
    const tries = machine.lines.filter((line) => line.startsWith('listeners: port in use'));
    expect(tries.length).toBeGreaterThan(2);
    expect(supervisor.info().pid).toBe(101);
  });
});

describe('the supervisor, stopping', () => {
  it('asks the engine to stop and starts no other', async () => {
    const machine = new Machine();
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    await supervisor.stop(10_000);
    expect(machine.engine.isAlive).toBe(false);
    expect(machine.signals).toEqual([]);
    await machine.time.pass(60_000);
    expect(machine.engines).toHaveLength(1);
  });

  it('kills an engine that does not stop within the bound', async () => {
    const machine = new Machine({ ignoresStop: true });
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    const stopped = supervisor.stop(10_000);
    await machine.time.pass(11_999);
    expect(machine.signals).toEqual([]);
    await machine.time.pass(1);
    await stopped;
    expect(machine.signals).toEqual(['SIGKILL 100']);
  });

  it('ends an engine that is still recovering', async () => {
    const machine = new Machine({ recoveryMs: 60_000 });
    const supervisor = supervisorOn(machine);
    const outcome = supervisor.start();
    const refused = expect(outcome).rejects.toMatchObject({ message: 'the daemon is stopping' });
    await machine.time.pass(100);
    await supervisor.stop(10_000);
    await refused;
    expect(machine.signals).toEqual(['SIGTERM 100']);
  });

  it('does not wait for the next start when there is no engine', async () => {
    const crash = { exit: { code: 1, signal: undefined } };
    const machine = new Machine({}, crash, crash, crash, crash, crash, crash, crash, crash, crash);
    const supervisor = supervisorOn(machine);
    await started(supervisor, machine, 0);
    machine.engine.end({ code: 1, signal: undefined });
    await machine.time.pass(20_000);
    const count = machine.engines.length;
    await supervisor.stop(10_000);
    await settled();
    await machine.time.pass(60_000);
    expect(machine.engines).toHaveLength(count);
  });
});
