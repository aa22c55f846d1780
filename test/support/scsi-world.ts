/**
 * A ScsiTarget over memory devices, with initiators that send commands straight to it: no iSCSI between. Everything
 * happens when a test says so.
 */
import type { Clock } from '../../src/base/ports.ts';
import type { BlockDevice } from '../../src/device/block-device.ts';
import { Staging } from '../../src/device/staging.ts';
import { StagingDoor } from '../../src/device/staging-door.ts';
import { LogicalUnit, type SpaceReport } from '../../src/scsi/logical-unit.ts';
import type { Nexus } from '../../src/scsi/nexus.ts';
import { ScsiStatus, TaskAttribute } from '../../src/scsi/status.ts';
import { type MappedLun, ScsiTarget } from '../../src/scsi/target.ts';
import { AluaState, TargetGroups } from '../../src/scsi/target-groups.ts';
import { Task, type TaskOwner } from '../../src/scsi/task.ts';
import { ManualTimers } from './manual-timers.ts';
import { MemoryDevice, type MemoryDeviceOptions } from './memory-device.ts';
import { settled } from './virtual-time.ts';

const mebibyte = 1 << 20;

const noSpace = (): SpaceReport => ({ usedBytes: 0, availableBytes: 1 << 30 });

function hex(value: number | undefined): string {
  return (value ?? 0).toString(16).padStart(2, '0');
}

/** One command as its initiator sees it. */
export class Exchange implements TaskOwner {
  readonly task = new Task();
  readonly #out: Uint8Array;
  #fed = 0;
  /** The initiator sends no more than this for now. */
  #sendBytesMax: number;
  data = new Uint8Array(0);
  isDone = false;
  sense = new Uint8Array(0);
  readonly #timers: ManualTimers;

  constructor(timers: ManualTimers, out: Uint8Array, sendBytesMax: number) {
    this.#timers = timers;
    this.#out = out;
    this.#sendBytesMax = sendBytesMax;
  }

  /** Sends what was kept back. */
  sendRest(): void {
    this.#sendBytesMax = this.#out.length;
    if (!this.isDone) this.#feed(this.task);
  }

  onDataOut(task: Task): void {
    this.#feed(task);
  }

  onRoom(task: Task): void {
    this.#timers.defer(() => {
      if (!this.isDone) this.#feed(task);
    });
  }

  onDataIn(task: Task): void {
    this.data = new Uint8Array(task.dataInLength);
    let pending = 0;
    let isGood = true;
    const over = (given: Task, isOk: boolean): void => {
      pending -= 1;
      isGood &&= isOk;
      if (pending === 0 && isGood) given.dataInSent();
    };
    const starts: number[] = [];
    for (let at = 0; at < task.dataInLength; at += mebibyte) starts.push(at);
    pending = starts.length;
    for (const at of starts) task.read(this.data.subarray(at, at + mebibyte), at, over);
  }

  onDone(task: Task): void {
    if (this.isDone) throw new Error('a task is done once');
    this.isDone = true;
    this.sense = task.sense?.slice() ?? new Uint8Array(0);
  }

  get status(): ScsiStatus {
    if (!this.isDone) throw new Error('the command has not ended');
    return this.task.status;
  }

  /** "2a/03"-like: sense key, ASC and ASCQ as in SPC-4, e.g. "6/2a/03"; empty without sense. */
  get senseText(): string {
    const { sense } = this;
    if (sense.length === 0) return '';
    const isFixed = ((sense[0] ?? 0) & 0x7f) < 0x72;
    const at = isFixed ? [2, 12, 13] : [1, 2, 3];
    const [key, asc, ascq] = at.map((index) => sense[index] ?? 0);
    return `${((key ?? 0) & 0x0f).toString(16)}/${hex(asc)}/${hex(ascq)}`;
  }

  #feed(task: Task): void {
    const end = Math.min(task.dataOutLength, this.#out.length, this.#sendBytesMax);
    if (this.#fed < end) task.expect(end - this.#fed);
    while (!this.isDone && this.#fed < end) {
      const taken = task.accept(this.#out, this.#fed, end);
      this.#fed += taken;
      if (taken === 0) return;
    }
  }
}

export class Initiator {
  readonly #world: ScsiWorld;
  readonly nexus: Nexus;
  /** How much of its data a command sends at once; `sendRest` sends the rest. */
  sendBytesMax = Number.POSITIVE_INFINITY;

  constructor(world: ScsiWorld, nexus: Nexus) {
    this.#world = world;
    this.nexus = nexus;
  }

  /** Sends a command and returns at once; it may have ended. */
  start(
    lun: number,
    cdb: Uint8Array,
    out: Uint8Array = new Uint8Array(0),
    inBytes = 65_536,
  ): Exchange {
    const exchange = new Exchange(this.#world.timers, out, this.sendBytesMax);
    const { task } = exchange;
    task.nexus = this.nexus;
    task.lun = lun;
    task.cdb = new Uint8Array(16);
    task.cdb.set(cdb);
    task.attribute = TaskAttribute.simple;
    task.dataOutBytes = out.length;
    task.dataInBytes = out.length > 0 ? 0 : inBytes;
    task.owner = exchange;
    this.#world.target.submit(task);
    return exchange;
  }

  /** The same for devices that take real time. */
  async ended(lun: number, cdb: Uint8Array, out?: Uint8Array, inBytes?: number): Promise<Exchange> {
    const exchange = this.start(lun, cdb, out, inBytes);
    while (!exchange.isDone) {
      this.#world.run();
      await settled();
    }
    return exchange;
  }

  /** Sends a command, lets everything run, and returns it ended. */
  run(lun: number, cdb: Uint8Array, out?: Uint8Array, inBytes?: number): Exchange {
    const exchange = this.start(lun, cdb, out, inBytes);
    this.#world.run();
    if (!exchange.isDone) throw new Error('the command does not end');
    return exchange;
  }

  /** TEST UNIT READY until nothing is pending; what was. */
  attentions(lun = 0): string[] {
    const texts: string[] = [];
    for (;;) {
      const { status, senseText } = this.run(lun, new Uint8Array(6));
      if (status !== ScsiStatus.checkCondition) return texts;
      texts.push(senseText);
    }
  }

  close(): void {
    const closed: Nexus[] = [];
    this.#world.target.closeNexus(this.nexus, () => {
      closed.push(this.nexus);
    });
    this.#world.run();
    if (closed.length !== 1) throw new Error('the nexus does not close once');
  }
}

export class ScsiWorld {
  readonly timers = new ManualTimers();
  readonly staging: Staging;
  readonly groups = new TargetGroups([
    { id: 1, state: AluaState.optimized, isPreferred: false, ports: [1, 2] },
  ]);
  readonly target: ScsiTarget;
  /** Who sees what: every initiator all of these, unless `hidden` says otherwise. */
  readonly luns = new Map<number, MappedLun>();
  /** LUNs that an initiator does not see. */
  readonly hidden = new Map<string, ReadonlySet<number>>();
  #nowMs = 0;
  #writers = 0;

  /** `staging`: of the pool that the units' devices belong to; default: one for memory devices. */
  constructor(staging = new Staging(new SharedArrayBuffer(32 * mebibyte))) {
    this.staging = staging;
    const clock: Clock = { wallMs: () => this.#nowMs, monotonicMs: () => this.#nowMs };
    this.target = new ScsiTarget({
      lunMap: {
        luns: (initiatorName) => {
          const hidden = this.hidden.get(initiatorName);
          return new Map([...this.luns].filter(([lun]) => hidden?.has(lun) !== true));
        },
      },
      staging: new StagingDoor(this.staging),
      timers: this.timers,
      clock,
      targetGroups: this.groups,
    });
  }

  /** A device of this world's pool, or (with `slab`) of another. */
  makeDevice(options: Partial<MemoryDeviceOptions> = {}): MemoryDevice {
    return new MemoryDevice({ sizeBytes: 64 * mebibyte, slab: this.staging.bytes, ...options });
  }

  map(
    lun: number,
    device: BlockDevice,
    options: { readonly isReadOnly?: boolean; readonly ignoresIsid?: boolean } = {},
  ): LogicalUnit {
    const { isReadOnly = false, ignoresIsid = false } = options;
    const unit = new LogicalUnit({ device, productRevision: '0001', space: noSpace });
    if (ignoresIsid) unit.setIgnoresIsid(true, () => undefined);
    this.run();
    this.luns.set(lun, { unit, isReadOnly });
    this.target.lunsChanged(undefined);
    return unit;
  }

  /** A session; its POWER ON unit attentions are taken already. */
  open(name: string, isidByte = 1, relativePort = 1): Initiator {
    this.#writers += 1;
    const initiator = new Initiator(
      this,
      this.target.openNexus({
        initiatorName: `iqn.2026-11.test:${name}`,
        isid: Uint8Array.of(0, 2, 0x3d, 0, 0, isidByte),
        targetName: 'iqn.2026-11.test:target',
        portalGroupTag: 1,
        relativePort,
        writer: this.#writers,
      }),
    );
    for (const lun of initiator.nexus.luns.keys()) initiator.attentions(lun);
    return initiator;
  }

  /** Runs what was deferred until nothing is left; time stands still. */
  run(): void {
    while (this.timers.endTurn());
  }

  /** Lets time pass, in steps of a millisecond. */
  pass(elapsedMs: number): void {
    for (let step = 0; step < elapsedMs; step += 1) {
      this.#nowMs += 1;
      this.timers.advance(1);
      this.run();
    }
  }
}
