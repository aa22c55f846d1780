/**
 * How vitest runs the tests. `unit` files run in parallel, and those of a process share the modules that they import: loading
 * these for each file again took a quarter of the time. So nothing of `src` or `test/support` may keep state of its own, and hooks
 * are registered by a test file or by what it calls. `quick`, `sim` and `e2e` files run in parallel, each in a process of its
 * own; those of `e2e` start daemons on free ports in folders of their own, and mostly wait for processes to start. `serial` files
 * drive real clients, mount file systems and measure memory, so they run one after another. Both have long limits.
 * Vitest would accept syntax that Node refuses to strip; the type checker's `erasableSyntaxOnly` catches that.
 */
import path from 'node:path';
import { defineConfig } from 'vitest/config';

const nodeMajorMin = 26;
if (Number(process.versions.node.split('.')[0]) < nodeMajorMin) {
  throw new Error(
    `tests run on Node ${nodeMajorMin}, not ${process.version}: use npm run, which puts the project's own Node first`,
  );
}

const minuteMs = 60_000;
const exclude = ['**/node_modules/**', 'test/house/canary/**'];

export default defineConfig({
  root: path.resolve(import.meta.dirname, '../..'),
  test: {
    pool: 'forks',
    maxWorkers: 2,
    // A poll waits for what will come; how long that takes depends on what else the machine does.
    expect: { poll: { interval: 5, timeout: 30_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          exclude,
          isolate: false,
          testTimeout: minuteMs,
        },
      },
      {
        extends: true,
        test: {
          name: 'quick',
          include: ['test/{house,contract,model,fuzz}/**/*.test.ts'],
          exclude,
          testTimeout: minuteMs,
        },
      },
      {
        extends: true,
        test: {
          name: 'sim',
          include: ['test/sim/**/*.test.ts'],
          exclude,
          testTimeout: 10 * minuteMs,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude,
          testTimeout: 5 * minuteMs,
          hookTimeout: 2 * minuteMs,
        },
      },
      {
        extends: true,
        test: {
          name: 'serial',
          include: ['test/interop/**/*.test.ts'],
          exclude,
          fileParallelism: false,
          testTimeout: 5 * minuteMs,
          hookTimeout: 2 * minuteMs,
        },
      },
    ],
  },
});
