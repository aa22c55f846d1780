/** The terminal, or the pipes in its place, of a command. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';

export interface Terminal {
  /** Whether a person can be asked: both input and error output are a terminal. */
  readonly isInteractive: boolean;
  /** Whether progress may be drawn over itself on the error output. */
  readonly canRedraw: boolean;
  out(text: string): void;
  error(text: string): void;
  /** Asks on the error output, so that a redirected result stays clean; undefined when the input ends. */
  ask(question: string): Promise<string | undefined>;
  /** As `ask`, for a secret: what is typed is not shown. */
  askSecret(question: string): Promise<string | undefined>;
  /** All of the standard input, to its end. */
  readInput(): Promise<string>;
}

/** Where a person's typing is echoed to when nobody may see it. */
function nowhere(): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
}

/** One line of the standard input, echoed nowhere; undefined when the input ends first. */
async function readLine(question: string): Promise<string | undefined> {
  process.stderr.write(question);
  const { stdin } = process;
  const reader = createInterface({ input: stdin, output: nowhere(), terminal: stdin.isTTY });
  return await new Promise((resolve) => {
    const ended = (): void => {
      process.stderr.write('\n');
      resolve(undefined);
    };
    reader.once('close', ended);
    reader.once('line', (answer) => {
      reader.off('close', ended);
      reader.close();
      resolve(answer);
    });
  });
}

export const systemTerminal: Terminal = {
  isInteractive: process.stdin.isTTY && process.stderr.isTTY,
  canRedraw: process.stderr.isTTY,
  out: (text) => {
    process.stdout.write(text);
  },
  error: (text) => {
    process.stderr.write(text);
  },
  ask: async (question) => {
    const reader = createInterface({ input: process.stdin, output: process.stderr });
    return await new Promise((resolve) => {
      const ended = (): void => {
        process.stderr.write('\n');
        resolve(undefined);
      };
      reader.once('close', ended);
      reader.question(question, (answer) => {
        reader.off('close', ended);
        reader.close();
        resolve(answer);
      });
    });
  },
  askSecret: async (question) => {
    const secret = await readLine(question);
    if (secret !== undefined) process.stderr.write('\n');
    return secret;
  },
  readInput: async () => await readText(process.stdin),
};

/** A reader that goes away early (`| head`) ends the command quietly, as it does every other program. */
export function exitOnClosedPipe(): void {
  process.stdout.on('error', (error: Error) => {
    if ('code' in error && error.code === 'EPIPE') process.exit(0);
    throw error;
  });
}
