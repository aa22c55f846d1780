/**
 * A daemon with its engine and iSCSI, as an operator and initiators meet it: the command line, Debian's libiscsi, and an initiator of
 * our own that sees every unit attention.
 */
import fs from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import type { Session, SessionList } from '../../src/contract/session.ts';
import { DaemonUnderTest, daemonEntries } from './daemon-under-test.ts';
import { type Answer, IscsiClient } from './iscsi-client.ts';
import { type Background, type RunResult, tryRun } from './run.ts';
import { read16, testUnitReady, write16 } from './scsi-cdb.ts';

const withinMs = 30_000;
/** The initiator that tests log in as unless they say otherwise. */
export const esx = 'iqn.1998-01.com.vmware:esx1';
const checkCondition = 2;

export interface Login {
  readonly initiatorName?: string;
  readonly isid?: number;
  /** Default: the pool's. */
  readonly targetName?: string;
  /** Default: that of the first portal. */
  readonly port?: number;
}

export class TargetUnderTest extends DaemonUnderTest {
  static async start(
    args?: readonly string[],
  ): Promise<{ target: TargetUnderTest; daemon: Background }> {
    const target = new TargetUnderTest(daemonEntries.real);
    return { target, daemon: await target.start(args) };
  }

  async port(): Promise<number> {
    return (await this.pool()).iscsi.portals[0]?.port ?? 0;
  }

  async url(lun: number, account = ''): Promise<string> {
    const { targetName } = (await this.pool()).iscsi;
    return `iscsi://${account}127.0.0.1:${await this.port()}/${targetName}/${lun}`;
  }

  /** One of libiscsi's or qemu's programs, as the initiator `name`. */
  async tool(program: string, args: readonly string[]): Promise<RunResult> {
    return await tryRun(program, args, { timeoutMs: withinMs });
  }

  async logIn(login: Login = {}): Promise<IscsiClient> {
    const { initiatorName = esx, isid = 1 } = login;
    const targetName = login.targetName ?? (await this.pool()).iscsi.targetName;
    return await IscsiClient.login(login.port ?? (await this.port()), {
      ...{ initiatorName, targetName, isid },
    });
  }

  async sessions(): Promise<Session[]> {
    // `session list --json` prints the contract's shape.
    return ((await this.json('session list')) as SessionList).sessions;
  }

  /** A secret in a file that only its owner may read. */
  secretFile(name: string, secret: string): string {
    const file = path.join(this.folder, name);
    fs.writeFileSync(file, `${secret}\n`, { mode: 0o600 });
    return file;
  }
}

/** Sense key, ASC and ASCQ as "6/3f/03"; "good" when there is none. */
export function verdict({ status, sense }: Answer): string {
  if (status === 0) return 'good';
  if (status !== checkCondition) return `status ${status.toString(16)}`;
  const [key = 0, asc = 0, ascq = 0] = [sense[2], sense[12], sense[13]];
  return `${(key & 15).toString(16)}/${hex(asc)}/${hex(ascq)}`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

/** What TEST UNIT READY says of a LUN until it says good: every unit attention that waits. */
export async function attentions(client: IscsiClient, lun: number): Promise<string[]> {
  const seen: string[] = [];
  for (let count = 0; count < 10; count += 1) {
    const said = verdict(await client.command(testUnitReady(), { lun }));
    if (said === 'good') return seen;
    seen.push(said);
  }
  return seen;
}

export async function write(client: IscsiClient, lun: number, byte: number): Promise<string> {
  const data = new Uint8Array(4096).fill(byte);
  return verdict(await client.command(write16(0, 8), { lun, write: data }));
}

export async function read(client: IscsiClient, lun: number): Promise<number | undefined> {
  const answer = await client.command(read16(0, 8), { lun, readBytes: 4096 });
  expect(verdict(answer)).toBe('good');
  return answer.data[0];
}
