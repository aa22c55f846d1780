/** The command line over the real API on a real socket; only the engine is in memory. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { runCommandLine } from '../../src/cli/program.ts';
import type { CommandRunner } from '../../src/host/command.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { routesOf } from './api-routes.ts';
import { controlPlane, type TestPlane } from './control-plane.ts';
import { MemoryEngine } from './memory-engine.ts';
import { SharedApi } from './shared-api.ts';
import { tlsIn } from './tls.ts';
import { VirtualTime } from './virtual-time.ts';

export interface Typed {
  /** What the person answers to a question; absent = there is no terminal. */
  readonly answer?: string;
  /** What is typed unseen, one for each question. */
  readonly secrets?: readonly string[];
  /** The standard input. */
  readonly input?: string;
  /** What runs the commands that are named in the command line. */
  readonly commands?: CommandRunner;
}

/** Nobody runs anything. */
const noCommands: CommandRunner = {
  run: async () => await Promise.resolve({ code: 127, signal: undefined }),
  onInterrupt: () => undefined,
};

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The API of all worlds of a suite, which listens in a folder of its own: each world's `run` is a link to it. */
class Listener {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-run-'));
  readonly api = new SharedApi();
  #isListening = false;

  async serve(world: CliWorld, coverage: CliCoverage): Promise<void> {
    const line = (message: string): void => void world.lines.push(message);
    this.api.serve(world.plane.controls, { info: line, warn: line, error: line });
    const { app } = this.api;
    if (!this.#isListening) {
      this.#isListening = true;
      app.addHook('onRequest', async (request) => {
        coverage.usedRoutes.add(`${request.method} ${request.routeOptions.url}`);
        await Promise.resolve();
      });
      await app.listen({ path: path.join(this.folder, 'daemon.sock') });
    }
    for (const route of routesOf(app)) coverage.routes.add(route);
  }

  async close(): Promise<void> {
    if (this.#isListening) await this.api.app.close();
    fs.rmSync(this.folder, { recursive: true });
  }
}

/** What the tests of a file have used, and the API that they share. Made once, where the file's hooks are. */
export class CliCoverage {
  readonly listener = new Listener();
  /** "METHOD /path/:with" of every route that exists, and of every one that some command has used. */
  readonly routes = new Set<string>();
  readonly usedRoutes = new Set<string>();
  /** "NOUN VERB" of every command that succeeded. */
  readonly usedCommands = new Set<string>();

  constructor() {
    afterAll(async () => {
      await this.listener.close();
    });
  }

  /** What of these nouns no command has used; the routes are those whose path begins with one of `places`. */
  async unused(nouns: readonly string[], places: readonly string[]): Promise<string[]> {
    const routes = [...this.routes].filter((route) =>
      places.some((place) => route.includes(` /v1/${place}`)),
    );
    const listed = await Promise.all(
      nouns.map(async (noun) => (await commandsOf(noun)).map((verb) => `${noun} ${verb}`)),
    );
    return [
      ...routes.filter((route) => !this.usedRoutes.has(route)),
      ...listed.flat().filter((command) => !this.usedCommands.has(command)),
    ];
  }
}

/** The commands that the help of `noun` (or, '', of the whole program) lists. */
export async function commandsOf(noun: string): Promise<string[]> {
  const { out } = await typeLine(`${noun} --help`, '/nowhere', {});
  const [, listed = ''] = out.split('Commands:\n');
  const names = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(([, name = '']) => name);
  return names.filter((name) => name !== 'help');
}

/** A daemon's folder with an API that answers there. */
export class CliWorld {
  readonly folder: string;
  readonly engine: MemoryEngine;
  readonly plane: TestPlane;
  /** What the API logged. */
  readonly lines: string[] = [];
  readonly #coverage: CliCoverage;

  private constructor(
    folder: string,
    engine: MemoryEngine,
    plane: TestPlane,
    coverage: CliCoverage,
  ) {
    this.folder = folder;
    this.engine = engine;
    this.plane = plane;
    this.#coverage = coverage;
  }

  static async start(coverage: CliCoverage): Promise<CliWorld> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-cli-'));
    fs.symlinkSync(coverage.listener.folder, path.join(folder, 'run'));
    const engine = new MemoryEngine();
    const plane = await controlPlane(engine, tlsIn(folder));
    const world = new CliWorld(folder, engine, plane, coverage);
    await coverage.listener.serve(world, coverage);
    return world;
  }

  /** No daemon answers any more. */
  stopDaemon(): void {
    fs.unlinkSync(path.join(this.folder, 'run'));
  }

  end(): void {
    fs.rmSync(this.folder, { recursive: true });
  }

  /** Runs one command line as the shell would split it. */
  async tidemark(line: string, typed: Typed = {}): Promise<Outcome> {
    const outcome = await typeLine(line, this.folder, typed);
    const [noun, verb] = wordsOf(line).filter((word) => !word.startsWith('--'));
    if (outcome.code === 0 && verb !== undefined) {
      this.#coverage.usedCommands.add(`${noun} ${verb}`);
    }
    return outcome;
  }

  /** The answer of a command that must succeed. */
  async json(line: string): Promise<unknown> {
    const { code, out, err } = await this.tidemark(`--json ${line}`);
    if (code !== 0 || err !== '') throw new Error(`tidemark ${line}: ${code} ${err}`);
    return JSON.parse(out);
  }
}

function wordsOf(line: string): string[] {
  return line.split(' ').filter((word) => word !== '');
}

async function typeLine(line: string, folder: string, typed: Typed): Promise<Outcome> {
  let out = '';
  let err = '';
  const argv = ['--data', folder, ...wordsOf(line)];
  const secrets = [...(typed.secrets ?? [])];
  const code = await runCommandLine(
    { argv, dataVariable: undefined },
    {
      terminal: {
        isInteractive: typed.answer !== undefined,
        canRedraw: false,
        out: (text) => {
          out += text;
        },
        error: (text) => {
          err += text;
        },
        ask: async (question) => {
          err += `${question}\n`;
          return await Promise.resolve(typed.answer);
        },
        askSecret: async (question) => {
          err += `${question}\n`;
          return await Promise.resolve(secrets.shift());
        },
        readInput: async () => await Promise.resolve(typed.input ?? ''),
      },
      clock: new VirtualTime(),
      timers: systemTimers,
      commands: typed.commands ?? noCommands,
    },
  );
  return { code, out, err };
}
