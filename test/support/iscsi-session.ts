/** An iSCSI session as the engine reports it. */
import type { IscsiSession } from '../../src/engine/protocol.ts';

export function oneSession(change: Partial<IscsiSession> = {}): IscsiSession {
  return {
    id: 1,
    kind: 'normal',
    initiatorName: 'iqn.1998-01.com.vmware:esx1',
    isid: '00023d000001',
    targetName: 'iqn.2026-11.org.tidemark:main-00000000',
    address: '10.0.0.7:40000',
    portal: '10.0.0.5:3260',
    sinceMs: 1_800_000_000_000,
    luns: [],
    commandCount: 12,
    bytesRead: 4096,
    bytesWritten: 8192,
    ...change,
  };
}
