/** How a command fails: exit codes, and what is printed. */
import type { ErrorBody } from '../contract/common.ts';

export const ExitCode = {
  ok: 0,
  /** The daemon or the operator said no. */
  failed: 1,
  /** The command line makes no sense. */
  usage: 2,
  /** No daemon answers. */
  unreachable: 3,
  /** By Ctrl-C or a signal, as shells have it. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

type ErrorShape = ErrorBody['error'];

/** Ends a command with a message for a person. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly hint: string | undefined;

  constructor(exitCode: ExitCode, error: ErrorShape) {
    super(error.message);
    this.exitCode = exitCode;
    this.code = error.code;
    this.hint = error.hint;
  }
}

/** A command line that cannot be carried out as written. */
export function usageFailure(message: string, hint?: string): CommandFailure {
  const error = { code: 'invalid', message };
  return new CommandFailure(ExitCode.usage, hint === undefined ? error : { ...error, hint });
}

/** What goes to the error output: sentences, or with `--json` the API's error body. */
export function failureText(failure: CommandFailure, isJson: boolean): string {
  const { code, message, hint } = failure;
  if (isJson) {
    const body: ErrorBody = {
      error: hint === undefined ? { code, message } : { code, message, hint },
    };
    return `${JSON.stringify(body, undefined, 2)}\n`;
  }
  return `tidemark: ${message}\n${hint === undefined ? '' : `hint: ${hint}\n`}`;
}
