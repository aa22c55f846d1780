/** What `npm run ok` and `npm test` consist of, as data. `main.ts` runs it. */

export interface Stage {
  readonly name: string;
  /** A check is one program that must exit with 0; a suite is a run of vitest whose tests are counted. */
  readonly kind: 'check' | 'suite';
  /** Name of a program in node_modules/.bin. */
  readonly program: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  /** Part of `npm run ok`, the quick one. */
  readonly isQuick: boolean;
  /** Drives real clients, so Debian's packages are needed. */
  readonly needsPackages?: boolean;
}

const minuteMs = 60_000;

function check(name: string, program: string, args: readonly string[]): Stage {
  return { name, kind: 'check', program, args, timeoutMs: 2 * minuteMs, isQuick: true };
}

function suite(name: string, minutes: number, folders: readonly string[]): Stage {
  const args = ['run', '--config', 'test/house/vitest.config.ts', ...folders];
  return {
    name,
    kind: 'suite',
    program: 'vitest',
    args,
    timeoutMs: minutes * minuteMs,
    isQuick: false,
  };
}

const knip = ['-c', 'test/house/knip.json', '--no-progress'];

export const stages: readonly Stage[] = [
  check('format', 'biome', ['check', '--error-on-warnings', '.']),
  check('lint', 'oxlint', ['--deny-warnings']),
  check('types', 'tsc', ['-p', '.', '--pretty', 'false']),
  check('dead code', 'knip', [...knip, '--treat-config-hints-as-errors']),
  check('test-only exports', 'knip', [...knip, '--production', '--include', 'files,exports,types']),
  { ...suite('house', 2, ['test/house/']), isQuick: true },
  { ...suite('unit', 5, ['test/unit/']), isQuick: true },
  suite('contract', 3, ['test/contract/']),
  suite('fuzz', 5, ['test/fuzz/']),
  suite('simulation', 14, ['test/sim/']),
  { ...suite('interop', 18, ['test/interop/']), needsPackages: true },
  { ...suite('e2e', 14, ['test/e2e/']), needsPackages: true },
];
