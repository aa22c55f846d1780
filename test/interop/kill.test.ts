/**
 * kill -9 at random moments while real clients write: every acknowledged byte is there afterwards, and nothing else.
 *
 *     stamped-writer.py (libnbd)  writes ─────▶ dies with the connection ─▶ reconnects, checks, writes on
 *     this test                        kill -9 ──┘        start again ──┘
 *
 * The seed is printed; KILL_SEED and KILL_ROUNDS in the environment replay or lengthen a run.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { debianPython, describeWith } from '../support/interop.ts';
import { Background, run, sleep, tryRun, until } from '../support/run.ts';

const writerScript = path.join(import.meta.dirname, 'stamped-writer.py');
const regionBytes = 16 << 20;
const rounds = Number(process.env['KILL_ROUNDS'] ?? 50);
const seed = Number(process.env['KILL_SEED'] ?? crypto.randomInt(1 << 30));
/** Every tenth round leaves the restart to the daemon; the others kill the daemon too, so that no back-off is waited for. */
const daemonRestartEvery = 10;
const roundWithinMs = 60_000;
const longestLifeMs = 400;

/** A repeatable sequence of numbers below 1, so that a seed replays the moments of the kills. */
function randomSequence(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function startWriter(uri: string, count: number): Background {
  const args = [writerScript, uri, String(count), String(regionBytes), String(seed)];
  return new Background(debianPython, args);
}

async function saw(writer: Background, line: string): Promise<void> {
  await until(line, roundWithinMs, () => {
    if (writer.output.includes('WRONG')) throw new Error(`seed ${seed}: ${writer.output}`);
    if (writer.output.includes(line)) return true;
    if (!writer.isRunning) throw new Error(`seed ${seed}: the writer ended: ${writer.output}`);
    return false;
  });
}

describeWith(
  ['python3-libnbd', 'nbdkit', 'fio', 'libnbd-bin'],
  'kill -9 while clients write',
  () => {
    let appliance: Appliance;

    beforeAll(async () => {
      console.log(`KILL_SEED=${seed}`);
      appliance = await Appliance.start();
    });

    afterAll(async () => {
      await appliance.remove();
    });

    /** Kills the engine; mostly the daemon with it, which is then started again. */
    async function killAndRestart(round: number): Promise<void> {
      const pid = await appliance.enginePid();
      await appliance.killEngine(pid);
      if (round % daemonRestartEvery === daemonRestartEvery - 1) {
        await until('the daemon starts a new engine', roundWithinMs, async () => {
          const next = await appliance.enginePid().catch(() => pid);
          return next !== pid;
        });
        return;
      }
      await appliance.killDaemon();
      await appliance.restart();
    }

    it(`keeps every acknowledged byte through ${rounds} kills of the engine`, async () => {
      await appliance.volumeCreate('stamped', regionBytes);
      const random = randomSequence(seed);
      const writer = startWriter(appliance.uri('stamped'), rounds);
      try {
        for (let round = 0; round < rounds; round += 1) {
          await saw(writer, `writing ${round}\n`);
          await sleep(random() * longestLifeMs);
          await killAndRestart(round);
        }
        await saw(writer, 'done');
      } finally {
        await writer.stop('SIGKILL');
      }
      const acknowledged = Number(/done acknowledged=(\d+)/.exec(writer.output)?.[1]);
      expect(acknowledged).toBeGreaterThan(rounds * 10);
    }, 600_000);

    it('keeps snapshots byte for byte through kills that follow them', async () => {
      await appliance.volumeCreate('pinned', regionBytes);
      const before = path.join(appliance.folder, 'before.raw');
      const after = path.join(appliance.folder, 'after.raw');
      await run('dd', ['if=/dev/urandom', `of=${before}`, 'bs=1M', 'count=16', 'status=none']);
      for (let round = 0; round < 3; round += 1) {
        await run('nbdcopy', [before, appliance.uri('pinned')]);
        await appliance.snapshotCreate('pinned', `round${round}`);
        const fio = new Background('fio', [
          ...['--name=churn', '--ioengine=nbd', `--uri=${appliance.uri('pinned')}`],
          ...[
            '--rw=randwrite',
            '--bs=4k',
            '--iodepth=32',
            '--size=16M',
            '--time_based',
            '--runtime=30s',
          ],
        ]);
        await sleep(300);
        await killAndRestart(0);
        await fio.stop('SIGKILL');
        await run('nbdcopy', [appliance.uri(`pinned@round${round}`), after]);
        await run('cmp', [before, after]);
      }
    });

    it('passes a verification that fio itself keeps across the kill', async () => {
      await appliance.volumeCreate('fio', 64 << 20);
      for (let round = 0; round < 5; round += 1) {
        const folder = fs.mkdtempSync(path.join(appliance.folder, 'fio-'));
        const common = [
          ...['--name=state', '--ioengine=nbd', `--uri=${appliance.uri('fio')}`, '--rw=randwrite'],
          ...['--bs=4k', '--size=64M', '--iodepth=16', `--randseed=${seed + round}`],
          ...['--verify=crc32c', '--verify_fatal=1', `--aux-path=${folder}`],
        ];
        const pid = await appliance.enginePid();
        // At the trigger fio stops, saves which writes were answered, and kills the engine.
        const trigger = ['--trigger-timeout=1s', `--trigger=kill -9 ${pid}`];
        const state = ['--do_verify=0', '--verify_state_save=1', '--rate_iops=4000'];
        await tryRun('fio', [...common, ...state, ...trigger], { cwd: folder });
        await until('the engine is dead', 10_000, async () => {
          const next = await appliance.enginePid().catch(() => undefined);
          return next !== pid;
        });
        await appliance.killDaemon();
        await appliance.restart();
        const states = fs.readdirSync(folder).filter((name) => name.endsWith('.state'));
        expect(states.length).toBeGreaterThan(0);
        const load = ['--verify_only=1', '--verify_state_load=1'];
        const { stdout } = await run('fio', [...common, ...load], { cwd: folder });
        expect(stdout).toMatch(/READ:/);
      }
    });

    it('would notice a server that forgets: the writer reports a memory disk that was killed', async () => {
      const socket = path.join(appliance.folder, 'forgetful.sock');
      const args = ['-f', '-U', socket, 'memory', String(regionBytes)];
      const writer = startWriter(`nbd+unix:///?socket=${socket}`, 2);
      let server = new Background('nbdkit', args);
      try {
        await until('the writer writes', roundWithinMs, () => writer.output.includes('writing 0'));
        await sleep(300);
        await server.stop('SIGKILL');
        fs.rmSync(socket, { force: true });
        server = new Background('nbdkit', args);
        await writer.ended();
        expect(writer.output).toContain('WRONG');
        expect(writer.child.exitCode).toBe(1);
      } finally {
        await writer.stop('SIGKILL');
        await server.stop('SIGKILL');
      }
    });
  },
);
