import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { matching } from '../../support/matching.ts';
import { Machine, started, supervisorOn } from '../../support/supervised-machine.ts';
import { settled } from '../../support/virtual-time.ts';

const tls = { certificatePem: 'certificate', keyPem: 'key' };

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
