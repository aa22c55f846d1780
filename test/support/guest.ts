/**
 * A virtual machine with a real kernel and real initiator, to be told what to do line by line:
 *
 *     Guest.boot() ──▶ qemu-system-x86_64 -accel tcg   serial 1: kernel messages, into a file
 *          │                                           serial 2: commands in, output and exit code back
 *          └ run('iscsiadm ...')                        user networking: this machine's loopback is 10.0.2.2
 *
 * Software emulation needs no right on the machine that runs the tests. Everything lives in memory; `stop` ends it at once.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type GuestImage, guestImage } from './guest-image.ts';
import { until } from './run.ts';

/** Address under which a guest reaches the loopback of the machine that it runs on. */
export const hostFromGuest = '10.0.2.2';

const bootWithinMs = 120_000;
const commandWithinMs = 120_000;
const memoryMiB = 768;

export interface GuestOptions {
  readonly initiatorName: string;
}

export interface GuestResult {
  readonly code: number;
  readonly output: string;
}

export class Guest implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #closed: Promise<void>;
  #received = '';
  #commandCount = 0;

  private constructor(image: GuestImage, options: GuestOptions) {
    this.#folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-guest-console-'));
    const append = `console=ttyS0 quiet panic=-1 initiator=${options.initiatorName}`;
    this.#child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(memoryMiB)],
        ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', append],
        ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
        ...['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='],
        ...['-serial', `file:${this.#consoleFile}`, '-serial', 'stdio'],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString();
    });
    this.#child.on('error', (error) => {
      this.#received += String(error);
      resolve(undefined);
    });
    this.#child.on('close', () => {
      resolve(undefined);
    });
    this.#closed = promise;
  }

  /** Boots a guest and waits until it takes commands. The caller must `stop` it. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(await guestImage(), options);
    try {
      await guest.#receives('@@ready', bootWithinMs);
    } catch (error) {
      await guest.stop();
      throw error;
    }
    return guest;
  }

  /** What the kernel said, for the message of a failed test. */
  get console(): string {
    return fs.existsSync(this.#consoleFile) ? fs.readFileSync(this.#consoleFile, 'utf8') : '';
  }

  get #consoleFile(): string {
    return path.join(this.#folder, 'console');
  }

  get #isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async #receives(word: string, withinMs: number): Promise<void> {
    await until(`the guest says ${word}`, withinMs, () => {
      if (this.#received.includes(word)) return true;
      if (!this.#isRunning) throw new Error(`the guest ended:\n${this.#received}\n${this.console}`);
      return false;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#received}\n${this.console}`);
    });
  }

  /** Runs a shell script to its end and returns whatever came of it. One at a time. */
  async tryRun(script: string, withinMs = commandWithinMs): Promise<GuestResult> {
    this.#commandCount += 1;
    const number = this.#commandCount;
    this.#received = '';
    this.#child.stdin?.write(`${number} ${Buffer.from(script).toString('base64')}\n`);
    await this.#receives(`@@end ${number} `, withinMs);
    await until('the exit code', commandWithinMs, () => /@@end \d+ \d+\s/.test(this.#received));
    const text = this.#received.replaceAll('\r', '');
    const begin = `@@begin ${number}\n`;
    const output = text.slice(text.indexOf(begin) + begin.length, text.lastIndexOf('@@end'));
    return { code: Number(/@@end \d+ (\d+)/.exec(text)?.[1]), output: output.trimEnd() };
  }

  /** Runs a shell script; throws with what it and the kernel said unless it exits with 0. */
  async run(script: string, withinMs = commandWithinMs): Promise<string> {
    const { code, output } = await this.tryRun(script, withinMs);
    if (code === 0) return output;
    const kernel = this.console.split('\n').slice(-40).join('\n');
    throw new Error(`in the guest: ${script}\nexit code ${code}\n${output}\nkernel:\n${kernel}`);
  }

  /** Ends the machine as a power cut would. */
  async stop(): Promise<void> {
    if (this.#isRunning) this.#child.kill('SIGKILL');
    await this.#closed;
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
