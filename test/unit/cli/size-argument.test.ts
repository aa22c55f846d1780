import { expect, it } from 'vitest';
import { CommandFailure } from '../../../src/cli/failure.ts';
import { exactSize, sizeArgument } from '../../../src/cli/size-argument.ts';

function failureOf(text: string): CommandFailure {
  try {
    sizeArgument(text);
  } catch (thrown) {
    if (thrown instanceof CommandFailure) return thrown;
    throw thrown;
  }
  throw new Error(`${text} was accepted`);
}

it.each([
  ['20G', 20 * 1024 ** 3],
  ['20GiB', 20 * 1024 ** 3],
  ['512M', 512 * 1024 ** 2],
  ['1.5T', 1.5 * 1024 ** 4],
  ['4096', 4096],
])('reads %s', (text, sizeBytes) => {
  expect(sizeArgument(text)).toBe(sizeBytes);
});

it.each(['', 'G', '20X', '-1G', '1e9', '0x10', '20 G B'])(
  'refuses %j with a hint at the forms',
  (text) => {
    const failure = failureOf(text);
    expect(failure.exitCode).toBe(2);
    expect(failure.hint).toContain('20G');
  },
);

it('refuses nothing at all', () => {
  expect(failureOf('0').message).toBe('the size must be more than 0');
});

it.each([
  ['4097', '4096'],
  ['1', '4096'],
  ['2047', '4096'],
  ['6144', '8192'],
  ['6143', '4096'],
  ['1000000000', '1000001536'],
])('names for %s the nearest size in whole blocks, %s', (text, nearest) => {
  expect(failureOf(text).hint).toBe(`the nearest size that is: ${nearest}`);
});

it('shows a size with its exact bytes', () => {
  expect(exactSize(21_474_836_480)).toBe('20 GiB (21474836480 bytes)');
});
