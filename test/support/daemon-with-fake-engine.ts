/** The real daemon over the engine without a store. */
import { fileURLToPath } from 'node:url';
import { ignoreLostOutput } from '../../src/host/signals.ts';
import { runDaemon } from '../../src/main.ts';

ignoreLostOutput();
process.exitCode = await runDaemon({
  argv: process.argv.slice(2),
  variables: process.env,
  engineEntry: fileURLToPath(new URL('./fake-engine.ts', import.meta.url)),
  print: (text) => process.stdout.write(text),
  printError: (text) => process.stderr.write(text),
});
