/** A client that has an export open, reads from it now and then, and notices when it is cut off. */
import { debianPython } from './interop.ts';
import { Background, until } from './run.ts';

/** For the shell of libnbd, which Debian has for its own Python. */
const script = `
import os, time
exec(os.environ['FIRST'])
print('connected', flush=True)
try:
    while True:
        h.pread(4096, 0)
        time.sleep(0.02)
except nbd.Error:
    print('cut off', flush=True)
`;
const withinMs = 30_000;

export class PatientClient implements AsyncDisposable {
  readonly #program: Background;

  private constructor(uri: string, first: string) {
    const args = ['-m', 'nbd', '-u', uri, '-c', script];
    this.#program = new Background(debianPython, args, { env: { FIRST: first } });
  }

  /** Connects, and runs `first` (Python with `h`, the connection) before it settles. */
  static async connect(uri: string, first = ''): Promise<PatientClient> {
    const client = new PatientClient(uri, first);
    await client.#says('connected');
    return client;
  }

  get isConnected(): boolean {
    return this.#program.isRunning && !this.#program.output.includes('cut off');
  }

  /** Returns when the server has ended the connection. */
  async cutOff(): Promise<void> {
    await this.#says('cut off');
  }

  async #says(word: string): Promise<void> {
    await until(`the client is ${word}`, withinMs, () => {
      if (this.#program.output.includes(word)) return true;
      if (!this.#program.isRunning) throw new Error(`the client ended:\n${this.#program.output}`);
      return false;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop('SIGKILL');
  }
}
