/**
 * Serves a device in memory: what the NBD room itself costs, without a store below.
 *
 *     node test/bench/nbd-memory.ts SOCKET [SIZE_MIB] [TCP_PORT]
 *
 * The export is `mem`. Ends on SIGTERM or SIGINT.
 */

import { Staging } from '../../src/device/staging.ts';
import { StagingDoor } from '../../src/device/staging-door.ts';
import { listenTcp, listenUnix } from '../../src/host/socket.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { plainDoor } from '../../src/nbd/door.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { MemoryDevice } from '../support/memory-device.ts';
import { MemoryExports } from '../support/memory-exports.ts';

const mebibyte = 1 << 20;
const slabBytes = 128 * mebibyte;
const defaultSizeMebibytes = 1024;

const [socketPath, sizeMebibytes, tcpPort] = process.argv.slice(2);
if (socketPath === undefined) {
  console.error('usage: node test/bench/nbd-memory.ts SOCKET [SIZE_MIB] [TCP_PORT]');
  process.exit(2);
}

const slab = new SharedArrayBuffer(slabBytes);
const staging = new Staging(slab);
const exports = new MemoryExports();
const sizeBytes = Number(sizeMebibytes ?? defaultSizeMebibytes) * mebibyte;
exports.add(new MemoryDevice({ name: 'mem', sizeBytes, slab: staging.bytes }));
const log = {
  info: () => undefined,
  warn: (message: string, fields?: object) => {
    console.error(message, fields);
  },
  error: (message: string, fields?: object) => {
    console.error(message, fields);
  },
};
const server = new NbdServer({
  exports,
  staging: new StagingDoor(staging),
  timers: systemTimers,
  log,
});

listenUnix(
  socketPath,
  (stream) => {
    server.accept(stream, plainDoor);
  },
  (error, listener) => {
    if (error !== undefined) throw error;
    console.log(`serving mem at nbd+unix:///mem?socket=${socketPath}`);
    stopWith(() => listener?.close());
  },
);
if (tcpPort !== undefined) {
  listenTcp(
    { address: '127.0.0.1', port: Number(tcpPort) },
    (stream) => {
      server.accept(stream, plainDoor);
    },
    (error, listener) => {
      if (error !== undefined) throw error;
      console.log(`serving mem at nbd://127.0.0.1:${listener?.port ?? 0}/mem`);
      stopWith(() => listener?.close());
    },
  );
}

function stopWith(close: () => void): void {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, () => {
      close();
      server.stop(1000, () => undefined);
    });
  }
}
