/** An iSCSI server and a SCSI target over memory devices, memory streams and manual time: everything happens when a test says so. */
import { StagingDoor } from '../../src/device/staging-door.ts';
import { IscsiServer } from '../../src/iscsi/server.ts';
import type { IscsiLimits } from '../../src/iscsi/server-limits.ts';
import { LogicalUnit } from '../../src/scsi/logical-unit.ts';
import { type MappedLun, ScsiTarget } from '../../src/scsi/target.ts';
import { TargetGroups } from '../../src/scsi/target-groups.ts';
import { SeededRandom } from '../sim/random.ts';
import { IscsiInitiator, type LoginShape } from './iscsi-initiator.ts';
import { MemoryHosts } from './login-world.ts';
import { MemoryDevice } from './memory-device.ts';
import { ServerWorld } from './server-world.ts';

export interface IscsiWorldOptions {
  readonly sizeBytes?: number;
  readonly slabBytes?: number;
  readonly limits?: Partial<IscsiLimits>;
}

export class IscsiWorld extends ServerWorld {
  readonly hosts = new MemoryHosts();
  readonly target: ScsiTarget;
  readonly server: IscsiServer;
  /** LUN 0. */
  readonly device: MemoryDevice;
  readonly luns = new Map<number, MappedLun>();
  readonly #clock = { wallMs: () => 1_700_000_000_000, monotonicMs: () => 0 };

  constructor(options: IscsiWorldOptions = {}) {
    super(options.slabBytes ?? 32 << 20);
    this.device = this.addLun(0, options.sizeBytes ?? 64 << 20);
    const { timers, hosts, log, luns } = this;
    const state = { state: 0, isPreferred: false } as const;
    this.target = new ScsiTarget({
      lunMap: { luns: () => luns },
      staging: new StagingDoor(this.staging),
      timers,
      clock: this.#clock,
      targetGroups: new TargetGroups([{ id: 1, ports: [1, 2], ...state }]),
    });
    this.server = new IscsiServer({
      target: this.target,
      hosts,
      timers,
      clock: this.#clock,
      random: new SeededRandom(1),
      log,
      limits: options.limits ?? {},
    });
  }

  addLun(lun: number, sizeBytes: number): MemoryDevice {
    const device = new MemoryDevice({ name: `lun${lun}`, sizeBytes, slab: this.staging.bytes });
    const space = (): { usedBytes: number; availableBytes: number } => ({
      usedBytes: 0,
      availableBytes: sizeBytes,
    });
    const unit = new LogicalUnit({ device, productRevision: '0001', space });
    this.luns.set(lun, { unit, isReadOnly: false });
    return device;
  }

  /** A connection on which nothing was said yet. */
  connect(relativePort = 1): IscsiInitiator {
    const stream = this.stream();
    const portal = { address: '127.0.0.1', port: 3259 + relativePort, group: 1, relativePort };
    this.server.accept(stream, portal);
    return new IscsiInitiator(stream, () => {
      this.run();
    });
  }

  /** An initiator in full feature phase, its first unit attention taken. */
  open(shape: LoginShape = {}): IscsiInitiator {
    const initiator = this.connect();
    initiator.login(shape);
    for (const lun of this.luns.keys()) initiator.execute({ cdb: new Uint8Array(6), lun });
    return initiator;
  }

  /** Time passes in steps, and everything happens. */
  pass(ms: number): void {
    const stepMs = 500;
    for (let left = ms; left > 0; left -= stepMs) {
      this.timers.advance(Math.min(left, stepMs));
      this.run();
    }
  }
}
