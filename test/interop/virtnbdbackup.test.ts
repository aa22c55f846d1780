/** virtnbdbackup's own client, extent handler and stream format take a full and an incremental backup of past moments. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { debianPython, describeWith } from '../support/interop.ts';
import { run } from '../support/run.ts';

const mebi = 2 ** 20;
const script = path.join(import.meta.dirname, 'virtnbdbackup.py');

describeWith(['virtnbdbackup', 'python3-libnbd', 'qemu-utils'], 'virtnbdbackup', () => {
  let appliance: Appliance;
  let folder: string;

  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-virtnbdbackup-'));
    appliance = await Appliance.start();
  });

  afterAll(async () => {
    await appliance.remove();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  async function change(...commands: string[]): Promise<void> {
    const args = commands.flatMap((command) => ['-c', command]);
    await run('qemu-io', ['-f', 'raw', ...args, appliance.uri('vm')]);
  }

  /** Bytes that it read. */
  async function backup(name: string, context: string, file: string): Promise<number> {
    const args = ['backup', appliance.nbdSocket, name, context, path.join(folder, file)];
    const { stdout } = await run(debianPython, [script, ...args]);
    return Number(stdout);
  }

  async function requireRestored(file: string, snapshot: string): Promise<void> {
    const image = path.join(folder, 'image');
    if (!fs.existsSync(image)) fs.writeFileSync(image, '');
    await run(debianPython, [script, 'restore', path.join(folder, file), image]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, appliance.uri(snapshot)]);
  }

  it('takes a full backup, then an increment that names trims and zeros, too, and restores both', async () => {
    await appliance.volumeCreate('vm', 128 * mebi);
    await change('write -P 11 0 9M', 'write -P 12 40M 5M', 'write -P 13 100M 1M');
    await appliance.snapshotCreate('vm', 'monday');
    await change(
      'write -P 21 3M 64k',
      'write -P 22 80M 300k',
      'discard 41M 1M',
      'write -z 100M 512k',
    );
    await appliance.snapshotCreate('vm', 'tuesday');
    await change('write -P 31 0 1M');
    expect(await backup('vm@monday', '', 'full')).toBe(15 * mebi);
    await requireRestored('full', 'vm@monday');
    const changed = await backup('vm@tuesday+since=monday', 'qemu:dirty-bitmap:monday', 'inc');
    expect(changed).toBe(65_536 + 300 * 1024 + mebi + mebi / 2);
    await requireRestored('inc', 'vm@tuesday');
  });
});
