/**
 * An appliance with iSCSI on two portals of loopback, for initiators of all kinds. Its ports stay the same when its
 * engine or its daemon starts again, so that an initiator finds it where it was.
 */
import net from 'node:net';
import { Appliance, type ApplianceOptions } from './appliance.ts';
import { freePorts } from './free-ports.ts';
import { until } from './run.ts';

const portalsWithinMs = 30_000;

/** Answer to `POST /v1/luns`, as far as it is needed here. */
interface Lun {
  readonly lun: number;
}

export interface LunOptions {
  readonly lun?: number;
  readonly isReadOnly?: boolean;
  /** Default: the host that stands for anybody on loopback. */
  readonly host?: string;
}

export class IscsiAppliance implements AsyncDisposable {
  readonly appliance: Appliance;
  readonly ports: readonly number[];
  readonly targetName: string;

  private constructor(appliance: Appliance, ports: readonly number[], targetName: string) {
    this.appliance = appliance;
    this.ports = ports;
    this.targetName = targetName;
  }

  /** Starts it and waits until both portals are open. The caller must `remove` it. */
  static async start(options: ApplianceOptions = {}): Promise<IscsiAppliance> {
    const ports = await freePorts(2);
    const args = ['--iscsi-port', String(ports[0]), ...(options.args ?? [])];
    const appliance = await Appliance.start({ ...options, args });
    try {
      await appliance.api('POST', '/v1/portals', { address: '127.0.0.1', port: ports[1] });
      await portalsOpen(appliance, ports);
      const { targetName } = (await appliance.pool()).iscsi;
      return new IscsiAppliance(appliance, ports, targetName);
    } catch (error) {
      await appliance.remove();
      throw error;
    }
  }

  /** Waits until both portals are open, for example after a restart of the engine. */
  async ready(): Promise<void> {
    await portalsOpen(this.appliance, this.ports);
  }

  /** URL of a LUN through one of the two portals. */
  url(lun: number, portal = 0): string {
    return `iscsi://127.0.0.1:${this.ports[portal]}/${this.targetName}/${lun}`;
  }

  /** Maps a volume or view to a host and returns its number there. */
  async lunMap(volume: string, options: LunOptions = {}): Promise<number> {
    const body = { host: 'loopback', volume, ...options };
    // The API's own schema serialised it.
    return ((await this.appliance.api('POST', '/v1/luns', body)) as Lun).lun;
  }

  async lunUnmap(volume: string, host = 'loopback'): Promise<void> {
    await this.appliance.api('DELETE', `/v1/hosts/${host}/luns/${volume}?force=true`);
  }

  /** SIGKILL to the engine; returns when its successor has both portals open. */
  async killEngine(): Promise<void> {
    const pid = await this.appliance.enginePid();
    await this.appliance.killEngine(pid);
    await until('the daemon starts a new engine', portalsWithinMs, async () => {
      const next = await this.appliance.enginePid().catch(() => pid);
      return next !== pid;
    });
    await this.ready();
  }

  async remove(): Promise<void> {
    await this.appliance.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }
}

async function portalsOpen(appliance: Appliance, ports: readonly number[]): Promise<void> {
  await until('the portals are open', portalsWithinMs, async () => {
    const pool = await appliance.pool().catch(() => undefined);
    if (pool === undefined || pool.iscsi.targetName === '') return false;
    return (await Promise.all(ports.map(accepts))).every(Boolean);
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${appliance.output}`);
  });
}

/** Whether somebody listens there. */
async function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.on('connect', () => {
    resolve(true);
  });
  socket.on('error', () => {
    resolve(false);
  });
  const isAccepted = await promise;
  socket.destroy();
  return isAccepted;
}
