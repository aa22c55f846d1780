/** The search for the change that broke a volume: a log of changes in memory, a command that is a function. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CommandRunner } from '../../../src/host/command.ts';
import { CliCoverage, CliWorld, type Outcome } from '../../support/cli-world.ts';
import { containing } from '../../support/matching.ts';

const coverage = new CliCoverage();
let world: CliWorld;
let ran: string[] = [];
let views: string[] = [];

beforeEach(async () => {
  world = await CliWorld.start(coverage);
  world.engine.pool.volumeCreate('v', 2 ** 30);
  ran = [];
  views = [];
});

afterEach(() => {
  world.end();
});

const changeEvery = 10;

/** Positions count from 0; there is a change at every tenth one. */
function useLog(): void {
  const { pool } = world.engine;
  const moment = (at: string): Awaited<ReturnType<typeof pool.handlers.momentOpen>> => ({
    at,
    position: Number(at.replace('position:', '')),
    timeMs: pool.momentMs,
    line: 1,
    sizeBytes: 2 ** 30,
  });
  Object.assign(pool.handlers, {
    momentOpen: async ({ at }: { at: string }) => await Promise.resolve(moment(at)),
    volumeChanges: async ({ from, to }: { from: string; to: string }) => {
      const [first, end] = [moment(from).position, moment(to).position].map((position) =>
        Math.ceil(position / changeEvery),
      );
      const changeCount = (end ?? 0) - (first ?? 0);
      const middle = {
        position: ((first ?? 0) + Math.ceil(changeCount / 2) - 1) * changeEvery,
        timeMs: pool.momentMs,
        kind: 'write',
        offset: 8192,
        length: 4096,
      };
      const ends = { from: moment(from), to: moment(to), changeCount };
      return await Promise.resolve(changeCount === 0 ? ends : { ...ends, middle });
    },
  });
}

/** The state is bad from the change at `firstBad` on. */
function command(
  firstBad: number,
  verdictOf: (isBad: boolean) => number = Number,
): CommandRunner & { interrupt: () => void } {
  const runner = {
    interrupt: () => undefined as void,
    onInterrupt: (action: () => void) => {
      runner.interrupt = action;
    },
    run: async (line: string, variables: Readonly<Record<string, string>>) => {
      ran.push(line);
      const name = variables['TIDEMARK_VIEW'] ?? '';
      views.push(name);
      const { at } = await world.engine.pool.handlers.viewShow({ name }, () => undefined);
      const position = Number(at.replace('position:', ''));
      return { code: verdictOf(position > firstBad), signal: undefined };
    },
  };
  return runner;
}

async function bisect(commands: CommandRunner, more = ''): Promise<Outcome> {
  return await world.tidemark(
    `bisect v --good position:5 --bad position:995 --run check:{} ${more}`,
    { commands },
  );
}

function viewsLeft(): number {
  return Object.keys(world.engine.pool.state.views).length === 0
    ? 0
    : world.engine.pool.state.volumes.length - 1;
}

describe('tidemark bisect', () => {
  it.each([10, 20, 500, 730, 980, 990])('finds the first bad change at %i', async (firstBad) => {
    useLog();
    const outcome = await bisect(command(firstBad), '--json');
    expect(outcome).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(outcome.out)).toMatchObject({
      firstBad: { position: firstBad, kind: 'write', offset: 8192 },
    });
    const { lastGood, probes } = JSON.parse(outcome.out) as {
      lastGood: { at: string };
      probes: number;
    };
    const lastGoodPosition = Number(lastGood.at.replace('position:', ''));
    expect(lastGoodPosition).toBeGreaterThan(firstBad - changeEvery);
    expect(lastGoodPosition).toBeLessThanOrEqual(firstBad);
    expect(probes).toBeLessThanOrEqual(9);
    expect(new Set(views).size).toBe(probes);
    expect(viewsLeft()).toBe(0);
  });

  it('tells the operator how it goes and what to do with it', async () => {
    useLog();
    const { out, err } = await bisect(command(730));
    expect(ran[0]).toBe(`check:'nbd+unix:///${views[0]}?socket=/d/run/nbd.sock'`);
    expect(err).toMatch(/^probe 1: position 5, .*: good\nprobe 2: position 995, .*: bad\n/);
    expect(err).toContain('99 changes left, about 7 more probes');
    expect(out).toMatch(/^last good moment: position:72[1-9]|730, /);
    expect(out).toContain('first bad change: write of 4 KiB at byte 8192, position 730, ');
    expect(out).toMatch(/tidemark snapshot create v last-good --at position:7\d\d\n/);
  });

  it('refuses ends that the command does not tell apart', async () => {
    useLog();
    expect(await bisect(command(2))).toMatchObject({
      code: 2,
      err: containing('calls position:5 bad'),
    });
    expect(await bisect(command(2000))).toMatchObject({
      code: 2,
      err: containing('calls position:995 good'),
    });
    const swapped = 'bisect v --good position:995 --bad position:5 --run x';
    expect(await world.tidemark(swapped)).toMatchObject({ code: 2 });
    expect(viewsLeft()).toBe(0);
  });

  it('ends when the command cannot be run', async () => {
    useLog();
    expect(await bisect(command(500, (isBad) => (isBad ? 127 : 0)))).toMatchObject({
      code: 1,
      err: containing('exited with 127, which is no verdict'),
    });
    expect(viewsLeft()).toBe(0);
  });

  it('deletes its views when it is interrupted', async () => {
    useLog();
    const runner = command(500, (isBad) => {
      if (ran.length === 4) runner.interrupt();
      return Number(isBad);
    });
    expect(await bisect(runner)).toMatchObject({ code: 130, err: containing('interrupted') });
    expect(ran).toHaveLength(4);
    expect(viewsLeft()).toBe(0);
  });
});
