/**
 * Entry of the engine process: its arguments, the machine's clock, the store's usual settings. Exit codes: engine.ts.
 *
 *     arguments ─▶ commit thread starts, its code is loaded ─▶ looks for the pool's files ─▶ waits for its ring
 *              └─▶ the pool's lock ─▶ the engine's own code is loaded ─▶ runEngine ──────────────────┘
 */
import { parseArgs } from 'node:util';
import { present } from '../base/assert.ts';
import { raisePriority } from '../host/threads.ts';
import { ENGINE_NICE } from './limits.ts';
import { claimPool } from './pool-claim.ts';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    'pool-dir': text,
    pool: text,
    socket: text,
    'pool-size': text,
    'first-volume': text,
  },
});
const poolDir = present(values['pool-dir'], '--pool-dir');
// Before any thread of its own is there. Who may not goes on as everybody does.
raisePriority(ENGINE_NICE);
const claim = claimPool(poolDir);
const { runEngine, usualSettings } = await import('./engine.ts');
const [name = '', sizeText = ''] = (values['first-volume'] ?? '').split(':');
await runEngine({
  ...usualSettings,
  claim,
  pool: present(values.pool, '--pool'),
  socket: present(values.socket, '--socket'),
  poolSizeBytes: values['pool-size'] === undefined ? undefined : Number(values['pool-size']),
  firstVolume: name === '' ? undefined : { name, sizeBytes: Number(sizeText) },
});
