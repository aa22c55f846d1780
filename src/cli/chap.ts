/** CHAP secrets on the command line: read from a file, the standard input or a hidden prompt, never from an argument. */
import type { Command } from 'commander';
import { OperationError } from '../base/errors.ts';
import type { ChapAccount } from '../contract/host.ts';
import { isOpenToOthers, readTextFile } from '../host/tls-files.ts';
import type { Session } from './command-session.ts';
import { usageFailure } from './failure.ts';

export interface ChapOptions {
  readonly chapUser?: string;
  readonly chapSecretFile?: string;
  readonly chapOutUser?: string;
  readonly chapOutSecretFile?: string;
}

/** The parts of a request that carry secrets. */
export interface ChapBody {
  readonly chapIn?: ChapAccount;
  readonly chapOut?: ChapAccount;
}

export function withChapOptions(command: Command): Command {
  return command
    .option('--chap-user <user>', 'the initiators prove themselves with CHAP under this name')
    .option(
      '--chap-secret-file <file>',
      'file with their secret; - is the standard input; without it you are asked',
    )
    .option('--chap-out-user <user>', 'the target proves itself under this name (mutual CHAP)')
    .option('--chap-out-secret-file <file>', "file with the target's secret, as above");
}

/** Reads what the options name. Throws CommandFailure `usage`. */
export async function chapBody(session: Session, options: ChapOptions): Promise<ChapBody> {
  const { chapUser, chapSecretFile, chapOutUser, chapOutSecretFile } = options;
  if (chapSecretFile === '-' && chapOutSecretFile === '-') {
    throw usageFailure('only one of the two secrets can come from the standard input');
  }
  const accountIn = await account(session, { user: chapUser, file: chapSecretFile, way: '' });
  const out: AccountOptions = { user: chapOutUser, file: chapOutSecretFile, way: 'out-' };
  const accountOut = await account(session, out);
  return {
    ...(accountIn === undefined ? {} : { chapIn: accountIn }),
    ...(accountOut === undefined ? {} : { chapOut: accountOut }),
  };
}

interface AccountOptions {
  readonly user: string | undefined;
  readonly file: string | undefined;
  /** Part of the options' names. */
  readonly way: '' | 'out-';
}

async function account(
  session: Session,
  { user, file, way }: AccountOptions,
): Promise<ChapAccount | undefined> {
  if (user === undefined) {
    if (file === undefined) return undefined;
    throw usageFailure(`--chap-${way}secret-file needs --chap-${way}user`);
  }
  const secret =
    file === undefined ? await askedSecret(session, user, way) : await readSecret(session, file);
  return { user, secret };
}

async function readSecret(session: Session, file: string): Promise<string> {
  if (file === '-') return withoutLineEnd(await session.terminal.readInput());
  try {
    const text = readTextFile(file);
    if (text === undefined) throw usageFailure(`there is no file ${file}`);
    if (isOpenToOthers(file)) {
      const message = `${file} holds a secret, and others than its owner may read or change it`;
      throw usageFailure(message, `chmod 600 ${file}`);
    }
    return withoutLineEnd(text);
  } catch (thrown) {
    if (!(thrown instanceof OperationError)) throw thrown;
    throw usageFailure(thrown.message, thrown.hint);
  }
}

async function askedSecret(session: Session, user: string, way: string): Promise<string> {
  if (!session.terminal.isInteractive) {
    const message = `--chap-${way}user needs a secret`;
    const hint = `give it with --chap-${way}secret-file FILE, or - to read it from the standard input`;
    throw usageFailure(message, hint);
  }
  const secret = await session.terminal.askSecret(`CHAP secret of ${user}: `);
  const again = await session.terminal.askSecret('again: ');
  if (secret === undefined || secret !== again) throw usageFailure('the secrets are not the same');
  return secret;
}

/** Editors and echo end a file with a line's end; it is not part of the secret. */
function withoutLineEnd(text: string): string {
  return text.replace(/\r?\n$/, '');
}
