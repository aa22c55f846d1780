/** Bytes that are not what their place demands. `isTooNew` = valid, but written by a version that this one must not touch. */
export class FormatError extends Error {
  override readonly name = 'FormatError';
  readonly isTooNew: boolean;

  constructor(message: string, options?: { readonly isTooNew: boolean }) {
    super(message);
    this.isTooNew = options?.isTooNew ?? false;
  }
}
