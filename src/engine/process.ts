/** Entry of the engine process: its arguments, the machine's clock, the store's usual settings. Exit codes: engine.ts. */
import { parseArgs } from 'node:util';
import { present } from '../base/assert.ts';
import { systemClock } from '../host/clock.ts';
import { raisePriority } from '../host/threads.ts';
import { defaultSettings } from '../volume/limits.ts';
import { type EngineSettings, runEngine } from './engine.ts';
import { ENGINE_NICE } from './limits.ts';

function engineSettings(argv: readonly string[]): EngineSettings {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      'pool-dir': text,
      pool: text,
      socket: text,
      'pool-size': text,
      'first-volume': text,
    },
  });
  const [name = '', sizeText = ''] = (values['first-volume'] ?? '').split(':');
  return {
    poolDir: present(values['pool-dir'], '--pool-dir'),
    pool: present(values.pool, '--pool'),
    socket: present(values.socket, '--socket'),
    poolSizeBytes: values['pool-size'] === undefined ? undefined : Number(values['pool-size']),
    firstVolume: name === '' ? undefined : { name, sizeBytes: Number(sizeText) },
    store: { ...defaultSettings, cleaner: 'auto' },
    clocks: { clock: systemClock, logClock: systemClock },
  };
}

// Before any thread of its own is there. Who may not goes on as everybody does.
raisePriority(ENGINE_NICE);
await runEngine(engineSettings(process.argv.slice(2)));
