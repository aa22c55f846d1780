/**
 * A real appliance for tests and benchmarks: the daemon and its engine, as `npm start` starts them, in a temporary
 * folder, with NBD on a unix socket (and TCP and iSCSI on ports the kernel picks).
 *
 *     Appliance.start() ──▶ node src/main.ts --data DIR --nbd-socket DIR/nbd.sock --nbd-port 0 --iscsi-port 0
 *           │ api('GET', '/v1/pool') over DIR/data/run/daemon.sock
 *           └ remove(): daemon and engine are gone, the folder too
 */
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import type { Pool } from '../../src/contract/pool.ts';
import type { Volume } from '../../src/contract/volume.ts';
import { Background, until } from './run.ts';

const root = path.resolve(import.meta.dirname, '../..');
const startWithinMs = 60_000;
const apiTimeoutMs = 60_000;
const goneWithinMs = 10_000;

export interface ApplianceOptions {
  /** Folder to work in; a temporary one when absent. */
  readonly folder?: string;
  /** More arguments for the daemon. */
  readonly args?: readonly string[];
  /** More environment for daemon and engine. */
  readonly env?: Readonly<Record<string, string>>;
}

/** An answer of the API that is not a success. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(`${status}: ${message}`);
    this.status = status;
  }
}

export class Appliance {
  readonly folder: string;
  readonly dataFolder: string;
  readonly nbdSocket: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #daemon: Background;

  private constructor(options: ApplianceOptions) {
    this.folder = options.folder ?? fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-test-'));
    fs.mkdirSync(this.folder, { recursive: true });
    this.dataFolder = path.join(this.folder, 'data');
    this.nbdSocket = path.join(this.folder, 'nbd.sock');
    this.#args = [
      path.join(root, 'src/main.ts'),
      ...[
        '--data',
        this.dataFolder,
        '--nbd-socket',
        this.nbdSocket,
        '--nbd-port',
        '0',
        '--iscsi-port',
        '0',
      ],
      ...(options.args ?? []),
    ];
    this.#env = { NODE_COMPILE_CACHE: path.join(this.folder, 'cache'), ...options.env };
    this.#daemon = this.#launch();
  }

  #launch(): Background {
    return new Background(process.execPath, this.#args, { cwd: this.folder, env: this.#env });
  }

  /** Starts an appliance and waits until it serves. The caller must `remove` it, also after a failure. */
  static async start(options: ApplianceOptions = {}): Promise<Appliance> {
    const appliance = new Appliance(options);
    try {
      await appliance.ready();
    } catch (error) {
      await appliance.remove();
      throw error;
    }
    return appliance;
  }

  get daemonPid(): number {
    return this.#daemon.pid;
  }

  /** What the daemon printed. */
  get output(): string {
    return this.#daemon.output;
  }

  /** Starts the daemon again after it was stopped or killed. */
  async restart(): Promise<void> {
    await this.#daemon.stop();
    this.#daemon = this.#launch();
    await this.ready();
  }

  /** Waits until the pool answers and NBD listens. */
  async ready(): Promise<void> {
    await until('the appliance serves', startWithinMs, async () => {
      if (!this.#daemon.isRunning) throw new Error(`the daemon ended:\n${this.output}`);
      const pool = await this.pool().catch(() => undefined);
      return pool?.nbd.socketPath !== undefined && fs.existsSync(this.nbdSocket);
    });
  }

  async pool(): Promise<Pool> {
    // The API's own schema serialised it.
    return (await this.api('GET', '/v1/pool')) as Pool;
  }

  async enginePid(): Promise<number> {
    return (await this.pool()).engine.pid;
  }

  /** SIGKILL to the engine, at once. Returns when the process is gone; the daemon starts another. */
  async killEngine(pid: number): Promise<void> {
    process.kill(pid, 'SIGKILL');
    await until('the engine is gone', goneWithinMs, () => !isAlive(pid));
  }

  async killDaemon(): Promise<void> {
    await this.#daemon.stop('SIGKILL');
  }

  /** URI of an export (VOLUME or VOLUME@SNAPSHOT) on the unix socket. */
  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.nbdSocket}`;
  }

  /** URI of an export on TCP. */
  async tcpUri(name: string): Promise<string> {
    const { tcp } = (await this.pool()).nbd;
    if (tcp === undefined) throw new Error('no TCP listener');
    return `nbd://${tcp.address}:${tcp.port}/${name}`;
  }

  /** One request to the REST API on the daemon's socket. Throws ApiError unless the answer is a success. */
  async api(method: string, url: string, body?: unknown): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request(
      {
        socketPath: path.join(this.dataFolder, 'run/daemon.sock'),
        method,
        path: url,
        timeout: apiTimeoutMs,
        headers: text === undefined ? {} : { 'content-type': 'application/json' },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const answer = Buffer.concat(chunks).toString();
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300)
            resolve(answer === '' ? undefined : JSON.parse(answer));
          else reject(new ApiError(status, answer));
        });
      },
    );
    request.on('timeout', () => {
      request.destroy(new Error(`no answer: ${method} ${url}`));
    });
    request.on('error', reject);
    request.end(text);
    return await promise;
  }

  async volumeCreate(name: string, sizeBytes: number): Promise<void> {
    await this.api('POST', '/v1/volumes', { name, sizeBytes });
  }

  /** Waits until no client has the volume or view open: the engine notices a client's end a little later. */
  async idle(name: string): Promise<void> {
    await until(`nobody has ${name} open`, startWithinMs, async () => {
      const volume = (await this.api('GET', `/v1/volumes/${name}`)) as Volume;
      return volume.connectionCount === 0;
    });
  }

  async snapshotCreate(volume: string, name: string): Promise<void> {
    await this.api('POST', `/v1/volumes/${volume}/snapshots`, { name });
  }

  /** Runs the command line against this appliance. */
  cliArgs(args: readonly string[]): { program: string; args: string[] } {
    const program = path.join(root, 'src/cli/tidemark');
    return { program, args: ['--data', this.dataFolder, ...args] };
  }

  /** Ends daemon and engine cleanly; the folder stays. An engine whose daemon was killed is ended too. */
  async stop(): Promise<void> {
    await this.#daemon.stop();
    for (const pid of enginesOf(this.dataFolder)) {
      process.kill(pid, 'SIGKILL');
      await until('the engine is gone', goneWithinMs, () => !isAlive(pid));
    }
  }

  /** Ends everything and deletes the folder. */
  async remove(): Promise<void> {
    await this.stop();
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  // A zombie still answers; it is dead all the same.
  return !/^State:\s+Z/m.test(readStatus(pid));
}

/** Engines that work in this data folder, whoever started them. */
export function enginesOf(dataFolder: string): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const args = readCommandLine(pid);
      return (
        args.includes('--pool-dir') &&
        args.some((arg) => arg.startsWith(`${dataFolder}/`)) &&
        isAlive(pid)
      );
    });
}

function readCommandLine(pid: number): string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

function readStatus(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return 'State: Z';
  }
}
