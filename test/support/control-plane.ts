/** The control plane over an engine in memory and a catalog in memory: for tests of the API and the CLI. */
import type { Controls } from '../../src/api/server.ts';
import { Catalog } from '../../src/catalog/catalog.ts';
import { HostControl } from '../../src/control/host-control.ts';
import { IscsiControl, type IscsiOptions } from '../../src/control/iscsi-control.ts';
import { LunControl } from '../../src/control/lun-control.ts';
import { PoolControl } from '../../src/control/pool-control.ts';
import { PortalControl } from '../../src/control/portal-control.ts';
import { SessionControl } from '../../src/control/session-control.ts';
import type { TlsControl } from '../../src/control/tls-control.ts';
import type { MemoryEngine } from './memory-engine.ts';
import { VirtualTime } from './virtual-time.ts';

export interface TestPlane {
  readonly controls: Controls;
  readonly iscsi: IscsiControl;
  readonly catalog: Catalog;
  readonly time: VirtualTime;
  /** What was logged. */
  readonly lines: string[];
}

/** With iSCSI on 127.0.0.1:3260, attached to `engine` as after a first start. */
export async function controlPlane(
  engine: MemoryEngine,
  tls: TlsControl,
  settings: IscsiOptions['settings'] = { listenAddress: '127.0.0.1', iscsiPort: 3260 },
): Promise<TestPlane> {
  const catalog = new Catalog(':memory:');
  const time = new VirtualTime();
  const lines: string[] = [];
  const line = (message: string): void => void lines.push(message);
  const log = { info: line, warn: line, error: line };
  const firstVolume = 'lun0';
  const iscsi = new IscsiControl({
    settings,
    firstVolume,
    catalog,
    timers: time,
    clock: time,
    log,
  });
  await iscsi.attach(engine.door(), undefined);
  const controls = {
    pool: new PoolControl(engine, iscsi, time),
    hosts: new HostControl(engine, iscsi, time),
    luns: new LunControl(engine, iscsi, time),
    sessions: new SessionControl(engine, iscsi),
    portals: new PortalControl(iscsi),
    tls,
  };
  return { controls, iscsi, catalog, time, lines };
}
