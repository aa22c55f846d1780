/** vitest's matchers for parts of text, without its `any`. */
import { expect } from 'vitest';

export function containing(text: string): unknown {
  return expect.stringContaining(text);
}

export function matching(pattern: RegExp): unknown {
  return expect.stringMatching(pattern);
}
