/** Errors that a person reads. Wire codes and HTTP codes are mapped from these in one file each. */

export const ErrorCode = {
  invalid: 'invalid',
  notFound: 'not-found',
  exists: 'exists',
  conflict: 'conflict',
  needsForce: 'needs-force',
  noSpace: 'no-space',
  readOnly: 'read-only',
  unavailable: 'unavailable',
  internal: 'internal',
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** What happened, to what, and (hint) what the operator can do about it. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, hint?: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** Turns anything thrown into an Error without losing what it was. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Outcome of a control operation that answers by callback. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: OperationError };

export function success<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function failure<T>(error: OperationError): Outcome<T> {
  return { ok: false, error };
}
