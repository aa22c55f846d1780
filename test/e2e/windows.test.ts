/** Windows and automatic pins through the command line and a real client: what is kept, what is refused, and what is said of both. */
import { expect, it } from 'vitest';
import type { Volume, VolumeHistory } from '../../src/contract/volume.ts';
import { DaemonUnderTest, daemonEntries } from '../support/daemon-under-test.ts';
import { hasPattern, writePattern } from '../support/disk-pattern.ts';
import { describeWith } from '../support/interop.ts';
import { sleep, until } from '../support/run.ts';

/** The engine looks at windows every ten seconds. */
const withinMs = 60_000;

class Tidemark extends DaemonUnderTest {
  constructor() {
    super(daemonEntries.real);
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.runPath('nbd.sock')}`;
  }

  async write(byte: number): Promise<void> {
    await writePattern(this.uri('v'), [{ byte, offset: '0', length: '64k' }]);
  }

  async holds(name: string, byte: number): Promise<boolean> {
    return await hasPattern(this.uri(name), [{ byte, offset: '0', length: '64k' }]);
  }

  async killEngine(): Promise<void> {
    const pid = await this.enginePid();
    process.kill(pid, 'SIGKILL');
    await until('the next engine serves', withinMs, async () => {
      const next = await this.enginePid().catch(() => pid);
      return next !== pid && (await this.cli('volume list')).code === 0;
    });
  }

  async show(): Promise<Volume> {
    return (await this.json('volume show v')) as Volume;
  }

  async kept(): Promise<VolumeHistory['kept']> {
    return ((await this.json('volume history v')) as VolumeHistory).kept;
  }
}

describeWith(['qemu-utils', 'libnbd-bin'], 'a window of seconds', () => {
  it('gives up what is older, but for automatic pins, which can be opened, named, and survive a restart', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.json('volume create v --size 4M --cdp-policy all:2s,1s:1h');
    expect((await tidemark.cli('volume show v')).stdout).toMatch(
      /^keeps +every moment for 2s, then one each 1s up to 1h$/m,
    );
    await tidemark.write(1);
    await sleep(20);
    const first = new Date().toISOString();
    await sleep(20);
    await tidemark.write(2);
    await until('the first pin', withinMs, async () => (await tidemark.show()).cdp.pinCount > 0);
    await tidemark.write(3);
    const second = Date.now();
    await until('the window moves behind it', withinMs, async () => {
      const { cdp } = await tidemark.show();
      return cdp.pinCount > 1 && cdp.fromMs > second;
    });

    const refused = await tidemark.cli(`view create v --at ${first} --name w`);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      new RegExp(`v at ${first} is not kept any more\nhint: Kept are .*Z behind it; "tidemark`),
    );
    const [pin] = await tidemark.kept();
    if (pin === undefined) throw new Error('nothing is kept');
    expect(pin).toMatchObject({ kind: 'pin' });
    await tidemark.json(`view create v --at ${pin.at} --name w`);
    expect(await tidemark.holds('w', 2)).toBe(true);
    expect((await tidemark.cli('volume history v --kept')).stdout).toContain(`${pin.at}  `);
    await tidemark.json(`snapshot create v named --at ${pin.at}`);
    await tidemark.json('volume set v --cdp-policy all:1h --force');
    await tidemark.killEngine();
    await until(
      'no pin any more',
      withinMs,
      async () => (await tidemark.show()).cdp.pinCount === 0,
    );
    expect(await tidemark.holds('v@named', 2)).toBe(true);
    expect(await tidemark.holds('v', 3)).toBe(true);
    expect((await tidemark.cli('volume list')).stdout).toMatch(/ of 1h /);
    expect((await tidemark.cli('volume show v')).stdout).toContain(
      'less than asked for, because older moments were given up before',
    );
    expect(await tidemark.json('pool rebuild')).toMatchObject({ result: { wasEqual: true } });
  });
});
