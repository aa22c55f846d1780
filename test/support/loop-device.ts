/**
 * An NBD export as a block device of this machine, for file systems that the kernel itself mounts:
 *
 *     export ──NBD──▶ nbdfuse (a file) ──▶ loop device ──▶ mount
 *
 * Needs root. Everything that was made is taken down again in reverse order, also when the server behind it is dead.
 */
import fs from 'node:fs';
import path from 'node:path';
import { Background, run, tryRun, until } from './run.ts';

const attachWithinMs = 20_000;

export class LoopDevice {
  /** For example /dev/loop3. */
  readonly device: string;
  readonly #fuse: Background;
  readonly #folder: string;
  readonly #mounts: string[] = [];

  private constructor(device: string, fuse: Background, folder: string) {
    this.device = device;
    this.#fuse = fuse;
    this.#folder = folder;
  }

  /** `folder` is made and must be new. Detach it in every case. */
  static async attach(uri: string, folder: string, isReadOnly: boolean): Promise<LoopDevice> {
    fs.mkdirSync(folder, { recursive: true });
    const file = path.join(folder, 'disk');
    const fuse = new Background('nbdfuse', [...(isReadOnly ? ['-r'] : []), file, uri]);
    try {
      await until('nbdfuse serves', attachWithinMs, () => {
        if (!fuse.isRunning) throw new Error(`nbdfuse ended: ${fuse.output}`);
        return fs.existsSync(file);
      });
      const args = [...(isReadOnly ? ['-r'] : []), '--find', '--show', file];
      const { stdout } = await run('losetup', args);
      return new LoopDevice(stdout.trim(), fuse, folder);
    } catch (error) {
      await unmountFuse(folder);
      await fuse.stop();
      throw error;
    }
  }

  /** Mounts the device on a new folder and returns it. */
  async mount(options = 'defaults'): Promise<string> {
    const target = `${this.#folder}-mount${this.#mounts.length}`;
    fs.mkdirSync(target);
    await run('mount', ['-o', options, this.device, target]);
    this.#mounts.push(target);
    return target;
  }

  /** Unmounts what is mounted, when the server behind it is well. Throws when that fails. */
  async unmount(): Promise<void> {
    for (let target = this.#mounts.pop(); target !== undefined; target = this.#mounts.pop()) {
      await run('umount', [target]);
    }
  }

  /** Takes everything down, whatever state it is in. */
  async detach(): Promise<void> {
    for (let target = this.#mounts.pop(); target !== undefined; target = this.#mounts.pop()) {
      const gentle = await tryRun('umount', [target], { timeoutMs: 20_000 });
      if (gentle.code !== 0) await tryRun('umount', ['-l', target]);
    }
    await tryRun('losetup', ['-d', this.device]);
    // A lazily unmounted file system lets go of the device a little later.
    await until('the loop device is free', attachWithinMs, async () => {
      const { stdout } = await tryRun('losetup', ['-n', '-O', 'BACK-FILE', this.device]);
      return !stdout.includes(this.#folder);
    }).catch(() => undefined);
    await unmountFuse(this.#folder);
    await this.#fuse.stop();
  }
}

async function unmountFuse(folder: string): Promise<void> {
  const gentle = await tryRun('fusermount3', ['-u', folder]);
  if (gentle.code !== 0) await tryRun('fusermount3', ['-u', '-z', folder]);
}
