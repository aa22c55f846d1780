import fs from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineProcess } from '../../src/control/supervisor.ts';
import { EngineLauncher } from '../../src/engine-launcher.ts';
import { isAlive } from '../support/appliance.ts';
import { until } from '../support/run.ts';

const withinMs = 10_000;

describe('an engine that is started ahead', () => {
  let folder = '';
  const started: EngineProcess[] = [];

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-launcher-'));
    fs.writeFileSync(
      path.join(folder, 'entry.mjs'),
      "console.log('words', process.argv.slice(2).join(' ')); setInterval(() => undefined, 1000);",
    );
  });

  afterEach(() => {
    for (const { pid } of started.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    fs.rmSync(folder, { recursive: true });
  });

  function launcher(): EngineLauncher {
    return new EngineLauncher({
      entry: path.join(folder, 'entry.mjs'),
      pool: 'main',
      poolFolder: path.join(folder, 'pool'),
      socket: path.join(folder, 'main.sock'),
      logPath: path.join(folder, 'main.log'),
      cacheFolder: path.join(folder, 'cache'),
      poolSizeBytes: 4096,
      firstVolume: { name: 'first', sizeBytes: 512 },
    });
  }

  function makePool(): void {
    fs.mkdirSync(path.join(folder, 'pool'));
    fs.writeFileSync(path.join(folder, 'pool/superblock-b'), '');
  }

  function taken(from: EngineLauncher): EngineProcess | undefined {
    const engine = from.takeAhead();
    if (engine !== undefined) started.push(engine);
    return engine;
  }

  it('is there once, for who takes it, and is left alone after that', async () => {
    makePool();
    fs.writeFileSync(path.join(folder, 'main.log'), 'of an earlier engine\n');
    const engines = launcher();
    await engines.startAhead();
    const engine = taken(engines);
    expect(taken(engines)).toBeUndefined();
    engines.dropAhead();
    await until('it says something', withinMs, () => engines.logText() !== '');
    expect(engines.logText()).toBe(
      `words --pool-dir ${folder}/pool --pool main --socket ${folder}/main.sock --first-volume first:512 --pool-size 4096\n`,
    );
    expect(isAlive(engine?.pid ?? 0)).toBe(true);
  });

  it('ends when nobody takes it', async () => {
    makePool();
    const engines = launcher();
    await engines.startAhead();
    // As long as it is not ended, what it says shows that it was there.
    await until('it says something', withinMs, () => engines.logText() !== '');
    const running = fs.readdirSync('/proc').filter((pid) => isOurs(pid));
    expect(running).toHaveLength(1);
    engines.dropAhead();
    await until('it is gone', withinMs, () => !isAlive(Number(running[0])));
    expect(taken(engines)).toBeUndefined();
  });

  it('is not there without a pool', async () => {
    const engines = launcher();
    await engines.startAhead();
    expect(taken(engines)).toBeUndefined();
  });

  it('is not there when an engine answers already', async () => {
    makePool();
    const server = createServer((socket) => socket.destroy());
    server.listen(path.join(folder, 'main.sock'));
    await new Promise((resolve) => server.once('listening', resolve));
    const engines = launcher();
    await engines.startAhead();
    expect(taken(engines)).toBeUndefined();
    await new Promise((resolve) => server.close(resolve));
  });

  function isOurs(pid: string): boolean {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${folder}/entry.mjs`);
    } catch {
      return false;
    }
  }
});
