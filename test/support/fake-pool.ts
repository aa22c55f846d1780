/** The methods of an engine over names and numbers, without a store: for tests of what sits above the engine. */
import { OperationError } from '../../src/base/errors.ts';
import type { PoolStatus, SnapshotInfo, VolumeInfo } from '../../src/engine/protocol.ts';
import type { EngineHandlers } from '../../src/engine/rpc.ts';
import { sleep } from './run.ts';

export interface FakeState {
  capacityBytes: number;
  volumes: VolumeInfo[];
  snapshots: SnapshotInfo[];
  /** What the pool's status says instead of its usual. */
  status?: Partial<PoolStatus>;
}

type PoolHandlers = Omit<EngineHandlers, 'hello' | 'listen' | 'stop'>;

export class FakePool {
  readonly name: string;
  state: FakeState;
  /** What `pool verify` finds. */
  faults: string[] = [];
  /** Runs after every change. */
  readonly #onChange: () => void;

  constructor(
    options: { readonly name: string; readonly capacityBytes: number },
    onChange: () => void = () => undefined,
  ) {
    this.name = options.name;
    this.state = { capacityBytes: options.capacityBytes, volumes: [], snapshots: [] };
    this.#onChange = onChange;
  }

  readonly handlers: PoolHandlers = {
    poolStatus: async () => await answer(this.#status()),
    poolResize: async ({ capacityBytes }) => {
      this.state.capacityBytes = capacityBytes;
      this.#onChange();
      return await answer(this.#status());
    },
    poolVerify: async (_params, progress) => {
      progress(1, 3);
      await sleep(60);
      progress(3, 3);
      const faultCount = this.faults.length;
      return {
        segmentsChecked: 3,
        blocksChecked: 24,
        faults: this.faults,
        faultCount,
        durationMs: 60,
      };
    },
    poolRebuild: async (_params, progress) => {
      progress(3, 3);
      return await answer({
        recordsRead: 5,
        volumeCount: this.state.volumes.length,
        snapshotCount: this.state.snapshots.length,
        entryCount: 7,
        wasEqual: true,
        durationMs: 2,
      });
    },
    volumeList: async () => await answer(this.state.volumes.map((each) => this.#counted(each))),
    volumeShow: async ({ name }) => await answer(this.#volume(name)),
    volumeCreate: async ({ name, sizeBytes }) => await answer(this.volumeCreate(name, sizeBytes)),
    volumeRename: async ({ name, newName }) => {
      this.#replace(name, { name: newName });
      this.state.snapshots = this.state.snapshots.map((each) =>
        each.volume === name ? { ...each, volume: newName } : each,
      );
      this.#onChange();
      return await answer(this.#volume(newName));
    },
    volumeResize: async ({ name, sizeBytes, force }) => {
      if (sizeBytes < this.#volume(name).sizeBytes && !force) {
        throw new OperationError(
          'needs-force',
          `shrinking ${name} to ${sizeBytes} bytes cuts data`,
        );
      }
      this.#replace(name, { sizeBytes });
      return await answer(this.#volume(name));
    },
    volumeDelete: async ({ name, force }) => {
      const { snapshotCount } = this.#volume(name);
      if (snapshotCount > 0 && !force) {
        throw new OperationError('needs-force', `volume ${name} has ${snapshotCount} snapshots`);
      }
      this.state.volumes = this.state.volumes.filter((each) => each.name !== name);
      this.state.snapshots = this.state.snapshots.filter((each) => each.volume !== name);
      this.#onChange();
      return await answer({ name });
    },
    snapshotList: async ({ volume }) => {
      this.#volume(volume);
      return await answer(this.state.snapshots.filter((each) => each.volume === volume));
    },
    snapshotCreate: async ({ volume, name }) => await answer(this.#snapshotCreate(volume, name)),
    snapshotDelete: async ({ volume, name, force }) => {
      const kept = this.state.snapshots.filter(
        (each) => each.volume !== volume || each.name !== name,
      );
      if (kept.length === this.state.snapshots.length) {
        throw new OperationError('not-found', `there is no snapshot ${volume}@${name}`);
      }
      if (name.startsWith('used') && !force) {
        throw new OperationError('needs-force', `a client has ${volume}@${name} open`);
      }
      this.state.snapshots = kept;
      this.#onChange();
      return await answer({ name });
    },
  };

  volumeCreate(name: string, sizeBytes: number): VolumeInfo {
    if (this.state.volumes.some((each) => each.name === name)) {
      throw new OperationError(
        'exists',
        `there is a volume ${name} already`,
        'choose another name',
      );
    }
    this.state.volumes.push({
      name,
      uuid: '00000000-0000-4000-8000-000000000001',
      naa: '6'.repeat(32),
      serial: 'fake',
      sizeBytes,
      mappedBytes: 8192,
      ack: 'durable',
      createdMs: Date.now(),
      snapshotCount: 0,
      connectionCount: 0,
    });
    this.#onChange();
    return this.#volume(name);
  }

  #snapshotCreate(volume: string, name: string): SnapshotInfo {
    const { sizeBytes } = this.#volume(volume);
    if (this.state.snapshots.some((each) => each.volume === volume && each.name === name)) {
      throw new OperationError('exists', `there is a snapshot ${volume}@${name} already`);
    }
    const snapshot: SnapshotInfo = {
      volume,
      name,
      uuid: '00000000-0000-4000-8000-000000000002',
      position: this.state.snapshots.length + 1,
      createdMs: Date.now(),
      sizeBytes,
      consistency: 'crash',
    };
    this.state.snapshots.push(snapshot);
    this.#onChange();
    return snapshot;
  }

  #volume(name: string): VolumeInfo {
    const found = this.state.volumes.find((each) => each.name === name);
    if (found === undefined) throw new OperationError('not-found', `there is no volume ${name}`);
    return this.#counted(found);
  }

  #counted(info: VolumeInfo): VolumeInfo {
    const mine = this.state.snapshots.filter((each) => each.volume === info.name);
    return { ...info, snapshotCount: mine.length };
  }

  #replace(name: string, change: Partial<VolumeInfo>): void {
    const old = this.#volume(name);
    this.state.volumes = this.state.volumes.map((each) =>
      each.name === name ? { ...old, ...change } : each,
    );
    this.#onChange();
  }

  #status(): PoolStatus {
    return {
      name: this.name,
      uuid: '00000000-0000-4000-8000-000000000000',
      state: 'online',
      capacityBytes: this.state.capacityBytes,
      usedBytes: 32 * 1024 ** 2,
      writeLimitBytes: Math.trunc(this.state.capacityBytes * 0.95),
      fileSystemFreeBytes: 200 * 1024 ** 3,
      segmentCount: 1,
      readySegmentCount: 1,
      volumeCount: this.state.volumes.length,
      snapshotCount: this.state.snapshots.length,
      epoch: 1,
      durableThrough: 16_777_216,
      mapBytes: 0,
      recovery: { durationMs: 1.5, logBytes: 0, tailFrames: 0, wasClean: true },
      ...this.state.status,
    };
  }
}

async function answer<T>(value: T): Promise<T> {
  return await Promise.resolve(value);
}
