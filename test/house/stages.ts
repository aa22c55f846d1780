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
  /** Uses about one processor, so two such run at a time. The others use both and run one after another. */
  readonly isSmall: boolean;
  /** What its tests keep in files need not outlive the machine: they lie in memory, where a flush costs nothing. */
  readonly isInMemory: boolean;
  /** Drives real clients, so Debian's packages are needed. */
  readonly needsPackages?: boolean;
}

const minuteMs = 60_000;

function check(name: string, program: string, args: readonly string[]): Stage {
  const timeoutMs = 2 * minuteMs;
  const kinds = { isQuick: true, isSmall: true, isInMemory: false };
  return { name, kind: 'check', program, args, timeoutMs, ...kinds };
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
    isSmall: false,
    isInMemory: false,
  };
}

/** What the checks have found out about files that did not change since. */
function cache(name: string): string {
  return `node_modules/.cache/tidemark/${name}`;
}

function knip(name: string, ...args: readonly string[]): Stage {
  const settings = ['-c', 'test/house/knip.json', '--no-progress'];
  const cached = ['--cache', '--cache-location', cache(name.replaceAll(' ', '-'))];
  return check(name, 'knip', [...settings, ...cached, ...args]);
}

/** The small ones: the longest first. */
export const stages: readonly Stage[] = [
  check('lint', 'oxlint', ['--deny-warnings']),
  { ...suite('house', 2, ['test/house/']), isQuick: true, isSmall: true },
  check('types', 'tsc', [
    ...['-p', '.', '--pretty', 'false'],
    ...['--incremental', '--tsBuildInfoFile', cache('types.json')],
  ]),
  knip('dead code', '--treat-config-hints-as-errors'),
  knip('test-only exports', '--production', '--include', 'files,exports,types'),
  check('format', 'biome', ['check', '--error-on-warnings', '.']),
  { ...suite('unit', 5, ['test/unit/']), isQuick: true, isInMemory: true },
  { ...suite('contract', 3, ['test/contract/']), isInMemory: true },
  { ...suite('model', 3, ['test/model/']), isInMemory: true },
  { ...suite('fuzz', 5, ['test/fuzz/']), isInMemory: true },
  suite('simulation', 17, ['test/sim/']),
  { ...suite('interop', 18, ['test/interop/']), needsPackages: true },
  { ...suite('e2e', 14, ['test/e2e/']), needsPackages: true },
];
