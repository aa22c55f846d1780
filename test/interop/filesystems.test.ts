/**
 * The kernel's own file systems on a volume: a tree is written, a snapshot taken, writing goes on, and the mounted snapshot
 * shows the tree of its moment. After kill -9 in the middle of writing the file system checks clean, and what was fsynced is
 * there. Needs root for mounts and loop devices.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Volume } from '../../src/contract/volume.ts';
import { Appliance } from '../support/appliance.ts';
import { treeSummary, writeTree } from '../support/file-tree.ts';
import { describeWith } from '../support/interop.ts';
import { LoopDevice } from '../support/loop-device.ts';
import { Background, run, sleep, until } from '../support/run.ts';

interface FileSystem {
  readonly name: string;
  readonly make: readonly [string, ...string[]];
  /** Mount options for a snapshot that cannot be written, whose journal was empty when it was taken. */
  readonly snapshotOptions: string;
  /** For a copy that keeps the file system's own id while the original is mounted. */
  readonly copyOptions: string;
  /** Checks an unmounted device without repairing; non-zero exit = damage. */
  readonly check: readonly [string, ...string[]];
}

const fileSystems: readonly FileSystem[] = [
  {
    name: 'ext4',
    make: ['/sbin/mkfs.ext4', '-q', '-F'],
    snapshotOptions: 'ro,noload',
    copyOptions: 'defaults',
    check: ['/sbin/e2fsck', '-f', '-n'],
  },
  {
    name: 'xfs',
    make: ['/sbin/mkfs.xfs', '-q', '-f'],
    snapshotOptions: 'ro,norecovery,nouuid',
    copyOptions: 'nouuid',
    check: ['/sbin/xfs_repair', '-n'],
  },
];

const sizeBytes = 512 << 20;
const isRoot = process.getuid?.() === 0;

/** Runs a step with the file system's writes held back and its journal empty, as a quiesced guest does. */
async function frozen(mountPoint: string, step: () => Promise<void>): Promise<void> {
  await run('fsfreeze', ['--freeze', mountPoint]);
  try {
    await step();
  } finally {
    await run('fsfreeze', ['--unfreeze', mountPoint]);
  }
}

async function check(fileSystem: FileSystem, device: LoopDevice): Promise<void> {
  const [program, ...args] = fileSystem.check;
  await run(program, [...args, device.device]);
}

describeWith(
  ['libnbd-bin', 'fuse3', 'mount', 'e2fsprogs', 'xfsprogs'],
  'file systems on a volume',
  () => {
    let appliance: Appliance;
    const attached: LoopDevice[] = [];

    beforeAll(async () => {
      appliance = await Appliance.start();
    });

    afterEach(async () => {
      for (let device = attached.pop(); device !== undefined; device = attached.pop()) {
        await device.detach();
      }
    });

    afterAll(async () => {
      await appliance.remove();
    });

    async function attach(name: string, isReadOnly = false): Promise<LoopDevice> {
      const folder = path.join(appliance.folder, `fuse-${name}-${attached.length}-${Date.now()}`);
      const device = await LoopDevice.attach(appliance.uri(name), folder, isReadOnly);
      attached.push(device);
      return device;
    }

    async function detach(device: LoopDevice): Promise<void> {
      await device.unmount();
      await device.detach();
      attached.splice(attached.indexOf(device), 1);
    }

    /** Through the command line, as an operator would. */
    async function takeSnapshot(volume: string, name: string): Promise<void> {
      const { program, args } = appliance.cliArgs(['snapshot', 'create', volume, name]);
      await run(program, args);
    }

    describe.each(fileSystems)('$name', (fileSystem) => {
      const title = isRoot ? it : it.skip;
      const { name } = fileSystem;

      async function makeVolume(volume: string): Promise<LoopDevice> {
        await appliance.volumeCreate(volume, sizeBytes);
        const device = await attach(volume);
        const [program, ...args] = fileSystem.make;
        await run(program, [...args, device.device]);
        return device;
      }

      title('a mounted snapshot shows the tree of its moment while writing goes on', async () => {
        const volume = `${name}-tree`;
        const device = await makeVolume(volume);
        const mountPoint = await device.mount();
        writeTree(path.join(mountPoint, 'first'), 60);
        const then = treeSummary(mountPoint);
        await frozen(mountPoint, async () => {
          await takeSnapshot(volume, 'quiet');
        });
        writeTree(path.join(mountPoint, 'second'), 40);
        fs.rmSync(path.join(mountPoint, 'first/d1'), { recursive: true });
        await run('sync', ['-f', mountPoint]);
        const now = treeSummary(mountPoint);
        expect(now).not.toEqual(then);

        const snapshot = await attach(`${volume}@quiet`, true);
        const snapshotMount = await snapshot.mount(fileSystem.snapshotOptions);
        expect(treeSummary(snapshotMount)).toEqual(then);
        expect(treeSummary(mountPoint)).toEqual(now);
        await detach(snapshot);
        await detach(device);
      });

      title('fstrim gives back what deleted files took, and cleaning the space of it', async () => {
        const volume = `${name}-trim`;
        const device = await makeVolume(volume);
        await appliance.api('POST', `/v1/volumes/${volume}/set`, { cdpPolicy: 'all:0' });
        const mountPoint = await device.mount();
        const mappedBytes = async (): Promise<number> => {
          // The API's own schema serialised it.
          const shown = (await appliance.api('GET', `/v1/volumes/${volume}`)) as Volume;
          return shown.mappedBytes;
        };
        const emptyBytes = await mappedBytes();
        const fileBytes = 192 << 20;
        fs.writeFileSync(path.join(mountPoint, 'big'), Buffer.alloc(fileBytes, 7));
        await run('sync', ['-f', mountPoint]);
        const fullBytes = await mappedBytes();
        expect(fullBytes).toBeGreaterThan(emptyBytes + fileBytes * 0.95);
        fs.rmSync(path.join(mountPoint, 'big'));
        await run('sync', ['-f', mountPoint]);
        const { usedBytes } = await appliance.pool();
        // A file system may keep what was freed just now for a while.
        await until('what the file took is not mapped any more', 30_000, async () => {
          await run('fstrim', [mountPoint]);
          return (await mappedBytes()) < fullBytes - fileBytes * 0.95;
        });
        // What the present does not have is history until the horizon has passed it, and dead then.
        const { program, args } = appliance.cliArgs(['pool', 'clean']);
        await until('the space is free again', 60_000, async () => {
          await run(program, args);
          await sleep(500);
          return (await appliance.pool()).usedBytes < usedBytes - fileBytes * 0.8;
        });
        await detach(device);
      });

      title(
        'a snapshot taken while files are written is as good as a power cut: copied, it checks clean',
        async () => {
          const volume = `${name}-busy`;
          const device = await makeVolume(volume);
          const mountPoint = await device.mount();
          writeTree(path.join(mountPoint, 'settled'), 30);
          await run('sync', ['-f', mountPoint]);
          const settled = treeSummary(path.join(mountPoint, 'settled'));
          const churn = startChurn(mountPoint);
          await until('the churn writes', 20_000, () =>
            fs.existsSync(path.join(mountPoint, 'churn/9')),
          );
          await takeSnapshot(volume, 'busy');
          await churn.stop('SIGKILL');
          await detach(device);

          await appliance.volumeCreate(`${volume}-copy`, sizeBytes);
          await run('nbdcopy', [appliance.uri(`${volume}@busy`), appliance.uri(`${volume}-copy`)]);
          const copy = await attach(`${volume}-copy`);
          const copyMount = await copy.mount(fileSystem.copyOptions);
          expect(treeSummary(path.join(copyMount, 'settled'))).toEqual(settled);
          await copy.unmount();
          await check(fileSystem, copy);
          await detach(copy);
        },
      );

      title(
        'after kill -9 in the middle of writing it checks clean and what was fsynced is there',
        async () => {
          const volume = `${name}-killed`;
          const device = await makeVolume(volume);
          const mountPoint = await device.mount();
          writeTree(path.join(mountPoint, 'settled'), 30);
          await run('sync', ['-f', mountPoint]);
          const settled = treeSummary(path.join(mountPoint, 'settled'));
          const churn = startChurn(mountPoint);
          await until('the churn writes', 20_000, () =>
            fs.existsSync(path.join(mountPoint, 'churn/9')),
          );
          await sleep(200);
          await appliance.killEngine(await appliance.enginePid());
          await churn.stop('SIGKILL');
          attached.splice(attached.indexOf(device), 1);
          await device.detach();
          await appliance.killDaemon();
          await appliance.restart();

          const again = await attach(volume);
          const againMount = await again.mount();
          expect(treeSummary(path.join(againMount, 'settled'))).toEqual(settled);
          await again.unmount();
          await check(fileSystem, again);
          await detach(again);
        },
      );
    });
  },
);

/** Writes, renames and deletes small files without end. */
function startChurn(mountPoint: string): Background {
  const script = `
    mkdir -p "$1/churn"; n=0
    while :; do
      head -c $((RANDOM * 8)) /dev/urandom > "$1/churn/tmp" && mv "$1/churn/tmp" "$1/churn/$n"
      [ $((n % 10)) = 9 ] && sync -f "$1" ; [ $n -gt 50 ] && rm -f "$1/churn/$((n - 50))"
      n=$((n + 1))
    done`;
  return new Background('bash', ['-c', script, 'churn', mountPoint]);
}
