/** The appliance of `bench day`: an engine on a fast clock, which is killed and stopped now and then and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { present } from '../../src/base/assert.ts';
import { connectEngine, type EngineClient, EngineGoneError } from '../../src/engine/client.ts';
import { engineNodeArguments, engineVariables } from '../../src/engine/process-options.ts';
import type { EngineMethod, EngineMethods, IscsiWanted } from '../../src/engine/protocol.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { until } from '../support/run.ts';
import type { DayTime } from './day-clock.ts';
import type { EngineSample } from './day-engine.ts';

export interface DayApplianceOptions {
  /** Everything is below it: pool, sockets, the engine's log. */
  readonly folder: string;
  readonly time: DayTime;
  readonly poolBytes: number;
  readonly segmentSlots: number;
  readonly sampleMs: number;
  readonly onSample: (sample: EngineSample) => void;
  /** Where processor profiles of engines that end by themselves go; absent: none are made. */
  readonly profileFolder?: string;
}

const startWithinMs = 60_000;
const stopWithinMs = 30_000;

export class DayAppliance {
  readonly nbdSocket: string;
  readonly logPath: string;
  readonly #options: DayApplianceOptions;
  #child: ChildProcess | undefined;
  #client: EngineClient | undefined;
  #up = Promise.withResolvers<void>();
  #iscsi: IscsiWanted | undefined;
  #iscsiPort = 0;
  #isExpected = false;
  #isUp = false;
  /** What the engine ended with when nobody asked it to. */
  fault: string | undefined;

  constructor(options: DayApplianceOptions) {
    this.#options = options;
    this.nbdSocket = path.join(options.folder, 'nbd.sock');
    this.logPath = path.join(options.folder, 'engine.log');
  }

  /** Resolves when it serves, at once while it does. Rejects when it ended by itself: it will not come back. */
  async whenUp(): Promise<void> {
    if (this.fault !== undefined) throw new Error(this.fault);
    await this.#up.promise;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Where the portal is; another port after every start. */
  get iscsiPort(): number {
    return this.#iscsiPort;
  }

  /** Opens a portal, now and after every start. */
  async serveIscsi(iscsi: IscsiWanted): Promise<void> {
    this.#iscsi = iscsi;
    const answer = await this.call('iscsiConfigure', { iscsi });
    const [portal] = answer.iscsi.portals;
    if (portal?.fault !== undefined) throw new Error(portal.fault);
    this.#iscsiPort = portal?.port ?? 0;
  }

  /** Returns when it serves. */
  async start(): Promise<void> {
    const { folder, time, poolBytes, segmentSlots, sampleMs, profileFolder } = this.#options;
    const socket = path.join(folder, 'main.sock');
    const options = {
      'pool-dir': path.join(folder, 'pool'),
      socket,
      'pool-size': poolBytes,
      'segment-slots': segmentSlots,
      'sample-ms': sampleMs,
      'origin-ms': time.originMs,
      'origin-wall-ms': time.originWallMs,
      speed: time.speed,
    };
    const entry = path.join(import.meta.dirname, 'day-engine.ts');
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const log = fs.openSync(this.logPath, 'a');
    const profile =
      profileFolder === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`];
    const child = spawn(process.execPath, [...engineNodeArguments, ...profile, entry, ...args], {
      env: { ...process.env, ...engineVariables(path.join(folder, 'cache')) },
      stdio: ['ignore', 'pipe', log],
    });
    fs.closeSync(log);
    this.#child = child;
    this.#isExpected = false;
    child.on('exit', (code, signal) => {
      if (!this.#isExpected) this.fault = `the engine ended with ${code ?? signal ?? ''}`;
    });
    const input = present(child.stdout ?? undefined, 'output of the engine');
    readline.createInterface({ input }).on('line', (line) => {
      this.#options.onSample(JSON.parse(line) as EngineSample);
    });
    await until('the engine answers', startWithinMs, async () => {
      if (child.exitCode !== null) throw new Error(`the engine ended: ${this.lastWords()}`);
      this.#client = await connectEngine(socket, systemTimers).catch(() => undefined);
      return this.#client !== undefined;
    });
    await this.call('listen', { nbd: { socketPath: this.nbdSocket } });
    if (this.#iscsi !== undefined) await this.serveIscsi(this.#iscsi);
    this.#isUp = true;
    this.#up.resolve();
  }

  /** Ends it as a crash does, without a chance to write anything. */
  async kill(): Promise<void> {
    await this.#end((child) => {
      child.kill('SIGKILL');
    });
  }

  /** Ends it as an upgrade does. */
  async stop(): Promise<void> {
    await this.#end(() => {
      void this.#client?.call('stop', { withinMs: stopWithinMs / 2 }).catch(() => undefined);
    });
  }

  /** Calls the engine once. Rejects with EngineGoneError while there is none. */
  async call<M extends EngineMethod>(
    method: M,
    params: EngineMethods[M]['params'],
  ): Promise<EngineMethods[M]['result']> {
    if (this.#client === undefined) throw new EngineGoneError('the engine is not there');
    return await this.#client.call(method, params, { timeoutMs: Number.POSITIVE_INFINITY });
  }

  /** The end of the engine's log. */
  lastWords(): string {
    const lines = fs.readFileSync(this.logPath, 'utf8').split('\n');
    return lines
      .filter((line) => !line.includes('nbd client'))
      .slice(-20)
      .join('\n');
  }

  /** What engines logged as errors. */
  errors(): string[] {
    const lines = fs.readFileSync(this.logPath, 'utf8').split('\n');
    return lines.filter((line) => line.includes('"level":"error"'));
  }

  async #end(how: (child: ChildProcess) => void): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#isUp = false;
    this.#up = Promise.withResolvers();
    this.#isExpected = true;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        resolve();
      });
    });
    how(child);
    const limit = setTimeout(() => {
      this.fault = 'the engine did not stop in time';
      child.kill('SIGKILL');
    }, stopWithinMs);
    await ended;
    clearTimeout(limit);
    this.#client?.close();
  }
}
