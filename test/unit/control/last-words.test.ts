import { expect, it } from 'vitest';
import { lastWords, mainReason } from '../../../src/control/last-words.ts';

it('reduces structured lines to their messages and keeps the last five', () => {
  const log = [1, 2, 3, 4, 5, 6].map((n) => JSON.stringify({ level: 'info', msg: `line ${n}` }));
  expect(lastWords(`${log.join('\n')}\n`)).toEqual([
    'line 2',
    'line 3',
    'line 4',
    'line 5',
    'line 6',
  ]);
});

it('shows the error of a crash, not the calls below it', () => {
  const report = [
    'file:///x/process.ts:9',
    '  throw new Error("no");',
    '        ^',
    '',
    'Error: no',
    '    at f (file:///x/process.ts:9:9)',
    '    at g (file:///x/process.ts:8:1)',
    '',
    'Node.js v26.10.0',
  ];
  expect(lastWords(report.join('\n')).at(-1)).toBe('Error: no');
});

it('has nothing to say about an empty log', () => {
  expect(lastWords('')).toEqual([]);
});

it('takes the error of a crash for the main reason, else the last line', () => {
  expect(mainReason(['throw err;', 'TypeError: no', "  code: 'X'"])).toBe('TypeError: no');
  expect(mainReason(['opened', 'superblock: unknown flag'])).toBe('superblock: unknown flag');
  expect(mainReason([])).toBe('it logged nothing');
});
