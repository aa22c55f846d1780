/**
 * An engine without a store, for tests of the control plane: it speaks the real RPC, keeps names and sizes in
 * a file of its pool folder, and can be told by the file `behaviour` there to misbehave at its next start.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { parseArgs } from 'node:util';
import { OperationError } from '../../src/base/errors.ts';
import type { NbdListen, PoolStatus, SnapshotInfo, VolumeInfo } from '../../src/engine/protocol.ts';
import { type EngineHandlers, serveEngineRpc } from '../../src/engine/rpc.ts';
import { tryLockFile } from '../../src/host/run-folder.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { jsonLog } from '../../src/telemetry/log.ts';

interface State {
  capacityBytes: number;
  volumes: VolumeInfo[];
  snapshots: SnapshotInfo[];
}

const { values } = parseArgs({
  options: {
    'pool-dir': { type: 'string', default: '' },
    pool: { type: 'string', default: '' },
    socket: { type: 'string', default: '' },
    'pool-size': { type: 'string' },
    'first-volume': { type: 'string' },
  },
});
const folder = values['pool-dir'];
const log = jsonLog(2, 'fake-engine');
mkdirSync(folder, { recursive: true });
if (tryLockFile(`${folder}/lock`) === undefined) {
  log.error('the pool is open in another process');
  process.exit(3);
}
misbehave();

const startedMs = Date.now();
const state = readState();
let opened: { nbd: NbdListen; servers: Server[] } = { nbd: {}, servers: [] };

const handlers: EngineHandlers = {
  hello: async () =>
    await answer({
      pool: values.pool,
      pid: process.pid,
      startedMs,
      version: 'fake',
      nbd: opened.nbd,
    }),
  listen: async ({ nbd }) => ({ nbd: await listen(nbd) }),
  poolStatus: async () => await answer(status()),
  poolResize: async ({ capacityBytes }) => {
    state.capacityBytes = capacityBytes;
    writeState();
    return await answer(status());
  },
  poolVerify: async (_params, progress) => {
    for (let done = 1; done <= 3; done += 1) {
      progress(done, 3);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return { segmentsChecked: 3, blocksChecked: 24, faults: [], faultCount: 0, durationMs: 150 };
  },
  poolRebuild: async (_params, progress) => {
    progress(3, 3);
    return await answer({
      recordsRead: 5,
      volumeCount: state.volumes.length,
      snapshotCount: state.snapshots.length,
      entryCount: 7,
      wasEqual: true,
      durationMs: 2,
    });
  },
  volumeList: async () => await answer(state.volumes.map((volume) => counted(volume))),
  volumeShow: async ({ name }) => await answer(counted(volumeNamed(name))),
  volumeCreate: async ({ name, sizeBytes }) => await answer(createVolume(name, sizeBytes)),
  volumeRename: async ({ name, newName }) => {
    const volume = volumeNamed(name);
    replaceVolume(name, { ...volume, name: newName });
    state.snapshots = state.snapshots.map((each) =>
      each.volume === name ? { ...each, volume: newName } : each,
    );
    writeState();
    return await answer(counted(volumeNamed(newName)));
  },
  volumeResize: async ({ name, sizeBytes, force }) => {
    const volume = volumeNamed(name);
    if (sizeBytes < volume.sizeBytes && !force) {
      throw new OperationError(
        'needs-force',
        `shrinking ${name} to ${sizeBytes} bytes cuts what lies behind`,
      );
    }
    replaceVolume(name, { ...volume, sizeBytes });
    return await answer(counted(volumeNamed(name)));
  },
  volumeDelete: async ({ name, force }) => {
    const { snapshotCount } = counted(volumeNamed(name));
    if (snapshotCount > 0 && !force) {
      throw new OperationError(
        'needs-force',
        `volume ${name} has ${snapshotCount} snapshot(s), which go with it`,
      );
    }
    state.volumes = state.volumes.filter((each) => each.name !== name);
    state.snapshots = state.snapshots.filter((each) => each.volume !== name);
    writeState();
    return await answer({ name });
  },
  snapshotList: async ({ volume }) => {
    volumeNamed(volume);
    return await answer(state.snapshots.filter((each) => each.volume === volume));
  },
  snapshotCreate: async ({ volume, name }) => await answer(createSnapshot(volume, name)),
  snapshotDelete: async ({ volume, name }) => {
    const kept = state.snapshots.filter((each) => each.volume !== volume || each.name !== name);
    if (kept.length === state.snapshots.length) {
      throw new OperationError('not-found', `there is no snapshot ${volume}@${name}`);
    }
    state.snapshots = kept;
    writeState();
    return await answer({ name });
  },
  stop: async () => {
    void server.close(1000).then(() => process.exit(0));
    return await answer({});
  },
};

const server = await serveEngineRpc(values.socket, handlers, { log, timers: systemTimers });

async function answer<T>(value: T): Promise<T> {
  return await Promise.resolve(value);
}

/** Does what the file `behaviour` says, as often as it says: "crash 3", "refuse 1". */
function misbehave(): void {
  let text: string;
  try {
    text = readFileSync(`${folder}/behaviour`, 'utf8');
  } catch {
    return;
  }
  const [what, times] = text.split(' ');
  const left = Number(times);
  if (left === 0) return;
  writeFileSync(`${folder}/behaviour`, `${what} ${left - 1}`);
  if (what === 'crash') throw new Error('the fake engine was told to crash');
  if (what === 'refuse') {
    log.error('superblock: unknown flag 0x8');
    process.exit(4);
  }
}

function readState(): State {
  try {
    return JSON.parse(readFileSync(`${folder}/state.json`, 'utf8'));
  } catch {
    const fresh: State = {
      capacityBytes: Number(values['pool-size'] ?? 100 * 1024 ** 3),
      volumes: [],
      snapshots: [],
    };
    const [name, size] = (values['first-volume'] ?? '').split(':');
    if (name !== undefined && name !== '') fresh.volumes.push(newVolume(name, Number(size)));
    return fresh;
  }
}

function writeState(): void {
  writeFileSync(`${folder}/state.json`, JSON.stringify(state));
}

function newVolume(name: string, sizeBytes: number): VolumeInfo {
  return {
    name,
    uuid: '00000000-0000-4000-8000-000000000001',
    naa: '6'.repeat(32),
    serial: 'fake',
    sizeBytes,
    mappedBytes: 0,
    ack: 'durable',
    createdMs: Date.now(),
    snapshotCount: 0,
    connectionCount: 0,
  };
}

function createVolume(name: string, sizeBytes: number): VolumeInfo {
  if (state.volumes.some((each) => each.name === name)) {
    throw new OperationError('exists', `there is a volume ${name} already`);
  }
  state.volumes.push(newVolume(name, sizeBytes));
  writeState();
  return volumeNamed(name);
}

function createSnapshot(volumeName: string, name: string): SnapshotInfo {
  const { sizeBytes } = volumeNamed(volumeName);
  if (state.snapshots.some((each) => each.volume === volumeName && each.name === name)) {
    throw new OperationError('exists', `there is a snapshot ${volumeName}@${name} already`);
  }
  const snapshot: SnapshotInfo = {
    volume: volumeName,
    name,
    uuid: '00000000-0000-4000-8000-000000000002',
    position: state.snapshots.length + 1,
    createdMs: Date.now(),
    sizeBytes,
    consistency: 'crash',
  };
  state.snapshots.push(snapshot);
  writeState();
  return snapshot;
}

function volumeNamed(name: string): VolumeInfo {
  const found = state.volumes.find((each) => each.name === name);
  if (found === undefined) throw new OperationError('not-found', `there is no volume ${name}`);
  return found;
}

function counted(info: VolumeInfo): VolumeInfo {
  const snapshotCount = state.snapshots.filter((each) => each.volume === info.name).length;
  return { ...info, snapshotCount };
}

function replaceVolume(name: string, next: VolumeInfo): void {
  state.volumes = state.volumes.map((each) => (each.name === name ? next : each));
  writeState();
}

function status(): PoolStatus {
  return {
    name: values.pool,
    uuid: '00000000-0000-4000-8000-000000000000',
    state: 'online',
    capacityBytes: state.capacityBytes,
    usedBytes: 32 * 1024 ** 2,
    writeLimitBytes: Math.trunc(state.capacityBytes * 0.95),
    fileSystemFreeBytes: 200 * 1024 ** 3,
    segmentCount: 1,
    readySegmentCount: 1,
    volumeCount: state.volumes.length,
    snapshotCount: state.snapshots.length,
    epoch: 1,
    durableThrough: 16_777_216,
    mapBytes: 0,
    recovery: { durationMs: 1.5, logBytes: 0, tailFrames: 0, wasClean: true },
  };
}

async function listen(nbd: NbdListen): Promise<NbdListen> {
  for (const each of opened.servers) each.close();
  const servers: Server[] = [];
  let { tcp } = nbd;
  if (tcp !== undefined) {
    const { address, port } = tcp;
    const tcpServer = createServer();
    servers.push(tcpServer);
    await new Promise<void>((resolve, reject) => {
      tcpServer.once('error', () => {
        reject(new OperationError('conflict', `port ${port} is in use`, 'choose another one'));
      });
      tcpServer.listen(port, address, resolve);
    });
    const bound = tcpServer.address();
    if (bound !== null && typeof bound === 'object') tcp = { address, port: bound.port };
  }
  opened = { nbd: tcp === undefined ? nbd : { ...nbd, tcp }, servers };
  return opened.nbd;
}
