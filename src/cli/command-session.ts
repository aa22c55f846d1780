/** What every command has at hand: the API, the terminal, the clock, and how to print. */
import { resolve } from 'node:path';
import type { Clock, Timers } from '../base/ports.ts';
import type { CommandRunner } from '../host/command.ts';
import type { Terminal } from '../host/terminal.ts';
import { ApiClient, type Method } from './api-client.ts';
import { CommandFailure, ExitCode } from './failure.ts';

/** Options of every command. */
export interface GlobalOptions {
  readonly data: string;
  readonly json: boolean;
}

export interface SessionHost {
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly commands: CommandRunner;
}

export class Session {
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly commands: CommandRunner;
  readonly isJson: boolean;
  readonly #api: ApiClient;

  constructor(options: GlobalOptions, host: SessionHost) {
    this.terminal = host.terminal;
    this.clock = host.clock;
    this.timers = host.timers;
    this.commands = host.commands;
    this.isJson = options.json;
    this.#api = new ApiClient(`${resolve(options.data)}/run/daemon.sock`);
  }

  /** One request; the answer has the shape that the contract gives this path. Throws CommandFailure. */
  async send<T>(method: Method, path: string, body?: unknown): Promise<T> {
    return await this.#api.send<T>(method, path, body);
  }

  /** Prints an answer: as the API's JSON with `--json`, else as `render` words it. */
  show<T>(answer: T, render: (answer: T) => string): void {
    const text = this.isJson ? JSON.stringify(answer, undefined, 2) : render(answer);
    this.terminal.out(`${text}\n`);
  }

  /**
   * Has a person confirm what `warning` says by typing `name`; without a terminal nobody can, and the command fails
   * with a hint at `--force`.
   */
  async confirm(warning: string, name: string): Promise<void> {
    if (!this.terminal.isInteractive) {
      const hint = 'give --force to do it all the same';
      throw new CommandFailure(ExitCode.failed, { code: 'needs-force', message: warning, hint });
    }
    this.terminal.error(`${warning}\n`);
    const answer = await this.terminal.ask(`Type ${name} to go on: `);
    if (answer?.trim() === name) return;
    const message = 'not confirmed, nothing was done';
    throw new CommandFailure(ExitCode.failed, { code: 'needs-force', message });
  }

  /** Runs `request`; when the API wants force for it, asks a person for `name` and runs it with force. */
  async withConsent<T>(name: string, request: (force: boolean) => Promise<T>): Promise<T> {
    try {
      return await request(false);
    } catch (thrown) {
      if (!(thrown instanceof CommandFailure) || thrown.code !== 'needs-force') throw thrown;
      await this.confirm(thrown.message, name);
      return await request(true);
    }
  }

  async sleep(delayMs: number): Promise<void> {
    await new Promise<void>((resolveSleep) => {
      this.timers.after(delayMs, resolveSleep);
    });
  }
}
