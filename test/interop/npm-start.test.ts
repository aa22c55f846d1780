/** The README's first command, as a newcomer types it: npm on whatever Node the machine has. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { isAlive } from '../support/appliance.ts';
import { describeWith } from '../support/interop.ts';
import { Background, run, until } from '../support/run.ts';

const root = path.resolve(import.meta.dirname, '../..');

describeWith(['libnbd-bin'], 'npm start', () => {
  let folder: string;
  let npm: Background;

  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-npm-'));
    const args = [
      'start',
      '--',
      '--data',
      path.join(folder, 'data'),
      '--nbd-port',
      '0',
      '--iscsi-port',
      '0',
    ];
    npm = new Background('npm', args, { cwd: root });
  });

  afterAll(async () => {
    await npm.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  async function tidemark(args: readonly string[]): Promise<string> {
    const common = ['run', '--silent', 'tidemark', '--', '--data', path.join(folder, 'data')];
    return (await run('npm', [...common, ...args], { cwd: root })).stdout;
  }

  it('serves a first volume of 16 GiB and says what to type next', async () => {
    const uri = `nbd+unix:///lun0?socket=${path.join(folder, 'data/run/nbd.sock')}`;
    await until('npm start says what to type next', 60_000, () => {
      if (!npm.isRunning) throw new Error(npm.output);
      return npm.output.includes('nbdinfo');
    });
    const { stdout } = await run('nbdinfo', ['--size', uri]);
    expect(Number(stdout)).toBe(16 * 2 ** 30);
    await tidemark(['snapshot', 'create', 'lun0', 'monday']);
    expect(await tidemark(['snapshot', 'list', 'lun0'])).toContain('monday');
    await run('nbdinfo', ['--size', uri.replace('lun0', 'lun0@monday')]);
  });

  it('ends on SIGTERM and takes the engine with it', async () => {
    // The answer is the API's own JSON of the pool.
    const pool = JSON.parse(await tidemark(['--json', 'pool', 'status'])) as {
      readonly engine: { readonly pid: number };
    };
    expect(isAlive(pool.engine.pid)).toBe(true);
    await npm.stop('SIGTERM', 20_000);
    await until('the engine is gone', 10_000, () => !isAlive(pool.engine.pid));
  });
});
