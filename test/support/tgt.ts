/**
 * Debian's tgtd: the target that ours is compared with, and the one on which the tools themselves are proven.
 *
 * Its files lie in the folder it is given; two portals on loopback; one target that anybody may use.
 */
import fs from 'node:fs';
import path from 'node:path';
import { freePorts } from './free-ports.ts';
import { Background, run, until } from './run.ts';

const targetName = 'iqn.2026-11.org.tidemark.test:tgt';
const startWithinMs = 15_000;

export interface TgtLun {
  /** Backing file; must exist. */
  readonly file: string;
  /** Parameters of the unit as `tgtadm --params` takes them, for example thin_provisioning=1. */
  readonly params?: string;
  /** Flags with which tgtd opens the file, as `tgtadm --bsoflags` takes them: sync or direct. */
  readonly openFlags?: 'sync' | 'direct';
}

export interface TgtOptions {
  readonly folder: string;
  /** LUN 1, 2, …; LUN 0 is tgtd's controller. */
  readonly luns: readonly TgtLun[];
  /** When present, only this user may log in. */
  readonly chap?: { readonly user: string; readonly secret: string };
}

export class Tgt implements AsyncDisposable {
  readonly targetName = targetName;
  readonly ports: readonly number[];
  readonly #daemon: Background;
  readonly #socket: string;

  private constructor(folder: string, ports: readonly number[]) {
    this.ports = ports;
    this.#socket = path.join(folder, 'tgtd.socket');
    const portal = `portal=127.0.0.1:${ports[0]}`;
    this.#daemon = new Background('/usr/sbin/tgtd', ['-f', '--iscsi', portal], {
      env: { TGT_IPC_SOCKET: this.#socket },
    });
  }

  static async start(options: TgtOptions): Promise<Tgt> {
    const tgt = new Tgt(options.folder, await freePorts(2));
    try {
      await tgt.#configure(options);
    } catch (error) {
      await tgt.stop();
      throw error;
    }
    return tgt;
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  /** URL of a LUN through one of the two portals. */
  url(lun: number, portal = 0): string {
    return `iscsi://127.0.0.1:${this.ports[portal]}/${targetName}/${lun}`;
  }

  async admin(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('/usr/sbin/tgtadm', ['--lld', 'iscsi', ...args], {
      env: { TGT_IPC_SOCKET: this.#socket },
    });
    return stdout;
  }

  async #configure(options: TgtOptions): Promise<void> {
    await until('tgtd listens', startWithinMs, () => {
      if (!this.#daemon.isRunning) throw new Error(`tgtd ended: ${this.#daemon.output}`);
      return fs.existsSync(`${this.#socket}.0`);
    });
    const [, second] = this.ports;
    const target = ['--mode', 'target', '--tid', '1'];
    await this.admin('--op', 'new', '--mode', 'portal', '--param', `portal=127.0.0.1:${second}`);
    await this.admin('--op', 'new', ...target, '-T', targetName);
    for (const [index, lun] of options.luns.entries()) {
      const unit = ['--mode', 'logicalunit', '--tid', '1', '--lun', String(index + 1)];
      const flags = lun.openFlags === undefined ? [] : ['--bsoflags', lun.openFlags];
      await this.admin('--op', 'new', ...unit, '-b', lun.file, ...flags);
      if (lun.params !== undefined) {
        await this.admin('--op', 'update', ...unit, '--params', lun.params);
      }
    }
    if (options.chap !== undefined) {
      const { user, secret } = options.chap;
      const account = ['--mode', 'account', '--user', user];
      await this.admin('--op', 'new', ...account, '--password', secret);
      await this.admin('--op', 'bind', ...account, '--tid', '1');
    }
    await this.admin('--op', 'bind', ...target, '-I', 'ALL');
  }

  async stop(): Promise<void> {
    // tgtd ends on SIGTERM only when nobody is logged in.
    await this.#daemon.stop('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/**
 * Parameters that turn a unit's write cache off: the caching mode page with WCE=0, which tgt obeys with an fdatasync
 * after every write (its own configuration tool sends the same page).
 */
export const writeCacheOff =
  'mode_page=8:0:18:0x10:0:0xff:0xff:0:0:0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0';
