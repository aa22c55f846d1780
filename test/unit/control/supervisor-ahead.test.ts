import { describe, expect, it } from 'vitest';
import {
  type Behaviour,
  Machine,
  started,
  supervisorOn,
} from '../../support/supervised-machine.ts';

function machineAhead(behaviour: Behaviour): Machine {
  const machine = new Machine(behaviour);
  machine.ahead = machine.run();
  return machine;
}

describe('the supervisor, over an engine that was started ahead of it', () => {
  it('attaches to it as to one of its own, and starts none beside it', async () => {
    const machine = machineAhead({ recoveryMs: 300 });
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 400)).toBeUndefined();
    expect(machine.engines).toHaveLength(1);
    expect(supervisor.info()).toMatchObject({ pid: 100, restartCount: 0 });
    expect(machine.lines).toEqual(['the engine serves pool main (process 100)']);
    machine.engine.end({ code: undefined, signal: 'SIGKILL' });
    await machine.time.pass(1000);
    expect(machine.lines.join()).toContain('ended (killed by SIGKILL)');
    expect(supervisor.info()).toMatchObject({ pid: 101, restartCount: 1 });
  });

  it('starts another when that one ended before it served, and says how', async () => {
    const machine = machineAhead({ exit: { code: 1, signal: undefined } });
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 1000)).toBeUndefined();
    expect(machine.lines.join()).toContain('ended (exit code 1)');
    expect(machine.lines).toContain('  engine: last words');
    expect(supervisor.info().pid).toBe(101);
  });

  it('gives up when that one is refused the pool', async () => {
    const machine = machineAhead({ exit: { code: 4, signal: undefined } });
    const error = await started(supervisorOn(machine), machine, 0);
    expect(error).toMatchObject({ message: 'last words' });
    expect(machine.engines).toHaveLength(1);
  });

  it('waits for the owner of the pool that was before it', async () => {
    const machine = new Machine({ recoveryMs: 3000 });
    machine.run();
    machine.ahead = machine.run();
    const supervisor = supervisorOn(machine);
    expect(await started(supervisor, machine, 5000)).toBeUndefined();
    expect(supervisor.info().pid).toBe(100);
  });

  it('ends it when it must stop before it serves', async () => {
    const machine = machineAhead({ recoveryMs: 60_000 });
    const supervisor = supervisorOn(machine);
    const refused = expect(supervisor.start()).rejects.toMatchObject({
      message: 'the daemon is stopping',
    });
    await machine.time.pass(100);
    await supervisor.stop(10_000);
    await refused;
    expect(machine.signals).toEqual(['SIGTERM 100']);
  });
});
