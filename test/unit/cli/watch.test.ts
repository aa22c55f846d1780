/** Following an operation while its daemon comes and goes. */
import { describe, expect, it } from 'vitest';
import { CommandFailure, ExitCode } from '../../../src/cli/failure.ts';
import { watch } from '../../../src/cli/watch.ts';
import type { PoolVerifyOperation } from '../../../src/contract/operation.ts';
import { containing } from '../../support/matching.ts';

const running: PoolVerifyOperation = {
  id: 'a-1',
  kind: 'pool-verify',
  startedMs: 5,
  state: 'running',
};
const ended: PoolVerifyOperation = { ...running, state: 'succeeded' };
const lost = { code: 'unavailable', message: 'the daemon ended', hint: 'run it again' };

function refusal(exitCode: ExitCode, code: string): CommandFailure {
  return new CommandFailure(exitCode, { code, message: code });
}

const unreachable = refusal(ExitCode.unreachable, 'unavailable');

/** What the daemon answers, look by look; the last answer for ever. */
function session(...answers: (PoolVerifyOperation | CommandFailure)[]): {
  readonly session: Parameters<typeof watch>[0];
  readonly sleptMs: () => number;
} {
  let sleptMs = 0;
  let at = 0;
  return {
    sleptMs: () => sleptMs,
    session: {
      terminal: { canRedraw: false } as Parameters<typeof watch>[0]['terminal'],
      sleep: async (delayMs) => {
        sleptMs += delayMs;
        await Promise.resolve();
      },
      send: async <T>(_method: string, path: string): Promise<T> => {
        expect(path).toBe('/v1/operations/a-1');
        const answer = answers[Math.min(at, answers.length - 1)];
        at += 1;
        if (answer instanceof Error) throw answer;
        // The only shape that is asked for here.
        return (await Promise.resolve(answer)) as T;
      },
    },
  };
}

describe('following an operation', () => {
  it('goes on over a daemon that went away for a moment', async () => {
    const world = session(running, unreachable, unreachable, running, ended);
    expect(await watch(world.session, running, 'verify')).toEqual(ended);
  });

  it('ends with what the next daemon says of it: lost', async () => {
    const failed = { ...running, state: 'failed' as const, error: lost };
    const world = session(running, unreachable, failed);
    await expect(watch(world.session, running, 'verify')).rejects.toMatchObject({
      exitCode: ExitCode.failed,
      message: lost.message,
      hint: lost.hint,
    });
  });

  it('says that the result is lost when nobody knows of it any more', async () => {
    const world = session(running, refusal(ExitCode.failed, 'not-found'));
    await expect(watch(world.session, running, 'verify')).rejects.toMatchObject({
      exitCode: ExitCode.failed,
      message: 'the daemon does not know this verify any more: its result is lost',
      hint: 'run it again',
    });
  });

  it('gives up on a daemon that does not come back, after half a minute', async () => {
    const world = session(running, unreachable);
    await expect(watch(world.session, running, 'verify')).rejects.toMatchObject({
      exitCode: ExitCode.unreachable,
      message: containing('did not come back'),
      hint: containing('pool operations'),
    });
    expect(world.sleptMs()).toBeGreaterThan(30_000);
    expect(world.sleptMs()).toBeLessThan(32_000);
  });

  it('passes on what else goes wrong', async () => {
    const world = session(running, refusal(ExitCode.failed, 'internal'));
    await expect(watch(world.session, running, 'verify')).rejects.toMatchObject({
      code: 'internal',
    });
  });
});
