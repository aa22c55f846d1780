/**
 * An engine process without a store, for tests of the daemon: it speaks the real RPC, keeps names and sizes in a
 * file of its pool folder, and can be told by the file `behaviour` there to misbehave at its next starts.
 */
import fs from 'node:fs';
import { createServer, type Server } from 'node:net';
import { parseArgs } from 'node:util';
import { OperationError } from '../../src/base/errors.ts';
import type { NbdListen, NbdListening } from '../../src/engine/protocol.ts';
import { serveEngineRpc } from '../../src/engine/rpc.ts';
import { tryLockFile } from '../../src/host/run-folder.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { jsonLog } from '../../src/telemetry/log.ts';
import { FakePool, type FakeState } from './fake-pool.ts';

const { values } = parseArgs({
  options: {
    'pool-dir': { type: 'string', default: '' },
    pool: { type: 'string', default: '' },
    socket: { type: 'string', default: '' },
    'pool-size': { type: 'string', default: String(100 * 1024 ** 3) },
    'first-volume': { type: 'string', default: '' },
  },
});
const folder = values['pool-dir'];
const log = jsonLog(2, 'fake-engine');
fs.mkdirSync(folder, { recursive: true });
if (tryLockFile(`${folder}/lock`) === undefined) {
  log.error('the pool is open in another process');
  process.exit(3);
}
misbehave();

const statePath = `${folder}/state.json`;
const startedMs = Date.now();
const capacityBytes = Number(values['pool-size']);
const pool = new FakePool({ name: values.pool, capacityBytes }, () => {
  fs.writeFileSync(statePath, JSON.stringify(pool.state));
});
if (fs.existsSync(statePath)) {
  pool.state = JSON.parse(fs.readFileSync(statePath, 'utf8')) as FakeState;
} else {
  const [name = '', size = ''] = values['first-volume'].split(':');
  pool.volumeCreate(name, Number(size));
}
let opened: { nbd: NbdListening; servers: Server[] } = { nbd: {}, servers: [] };

const server = await serveEngineRpc(
  values.socket,
  {
    ...pool.handlers,
    hello: async () => {
      const { pid } = process;
      const hello = { pool: values.pool, pid, startedMs, version: 'fake', nbd: opened.nbd };
      const { iscsi } = pool;
      return await Promise.resolve(
        iscsi === undefined ? hello : { ...hello, iscsi: pool.listening(iscsi) },
      );
    },
    listen: async ({ nbd }) => ({ nbd: await listen(nbd) }),
    stop: async () => {
      void server.close(1000).then(() => process.exit(0));
      return await Promise.resolve({});
    },
  },
  { log, timers: systemTimers },
);

/** Does what the file `behaviour` says, as often as it says: "crash 3", "refuse 1". */
function misbehave(): void {
  const path = `${folder}/behaviour`;
  if (!fs.existsSync(path)) return;
  const [what, times] = fs.readFileSync(path, 'utf8').split(' ');
  const left = Number(times);
  if (left === 0) return;
  fs.writeFileSync(path, `${what} ${left - 1}`);
  if (what === 'crash') throw new Error('the fake engine was told to crash');
  if (what === 'refuse') {
    log.error(`pool ${values.pool} cannot be opened: superblock: unknown flag 0x8`);
    process.exit(4);
  }
}

/** Opens the port for real, so that one in use is refused as an engine refuses it; nobody is served there. */
async function listen(nbd: NbdListen): Promise<NbdListening> {
  for (const each of opened.servers) each.close();
  if (nbd.tcp === undefined) {
    const { socketPath } = nbd;
    opened = { nbd: socketPath === undefined ? {} : { socketPath }, servers: [] };
    return opened.nbd;
  }
  const { address, port, tls } = nbd.tcp;
  const tcp = createServer();
  await new Promise<void>((resolve, reject) => {
    tcp.once('error', () => {
      reject(new OperationError('conflict', `port ${port} is in use`, 'choose another one'));
    });
    tcp.listen(port, address, resolve);
  });
  const bound = tcp.address();
  const boundPort = bound !== null && typeof bound === 'object' ? bound.port : port;
  const secured = tls === undefined ? {} : { tls: 'required' as const };
  opened = { nbd: { ...nbd, tcp: { address, port: boundPort, ...secured } }, servers: [tcp] };
  return opened.nbd;
}
