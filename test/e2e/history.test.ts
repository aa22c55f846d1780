/** Past moments through the command line and a real client: what an operator does after something went wrong. */
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { Diff, Rate } from '../../src/contract/history.ts';
import type { View, ViewList } from '../../src/contract/view.ts';
import { isAlive } from '../support/appliance.ts';
import { DaemonUnderTest, daemonEntries } from '../support/daemon-under-test.ts';
import { hasPattern, type Stretch, writePattern } from '../support/disk-pattern.ts';
import { describeWith } from '../support/interop.ts';
import { Background, sleep, until } from '../support/run.ts';

const withinMs = 30_000;
const cliPath = path.resolve(import.meta.dirname, '../../src/cli/tidemark');

class Tidemark extends DaemonUnderTest {
  constructor() {
    super(daemonEntries.real);
  }

  uri(name: string): string {
    return `nbd+unix:///${name}?socket=${this.runPath('nbd.sock')}`;
  }

  async write(name: string, stretches: readonly Stretch[]): Promise<void> {
    await writePattern(this.uri(name), stretches);
  }

  async holds(name: string, stretches: readonly Stretch[]): Promise<boolean> {
    return await hasPattern(this.uri(name), stretches);
  }

  /** A moment between what was done before and what comes next, as a person would write it down. */
  async moment(): Promise<string> {
    await sleep(20);
    const text = new Date().toISOString();
    await sleep(20);
    return text;
  }

  async killEngine(): Promise<void> {
    const pid = await this.enginePid();
    process.kill(pid, 'SIGKILL');
    await until('the next engine serves', withinMs, async () => {
      const next = await this.enginePid().catch(() => pid);
      return next !== pid && !isAlive(pid) && (await this.cli('volume list')).code === 0;
    });
  }

  /** A shell script in the folder; its name has no blanks for the command line to split. */
  script(name: string, lines: readonly string[]): string {
    const file = path.join(this.folder, name);
    fs.writeFileSync(file, `#!/bin/sh\n${lines.join('\n')}\n`, { mode: 0o755 });
    return file;
  }
}

function filled(byte: number, offset = '0', length = '64k'): Stretch[] {
  return [{ byte, offset, length }];
}

describeWith(['qemu-utils', 'libnbd-bin'], 'past moments', () => {
  it('are opened, refreshed, rolled back to and named, also after a crash', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.json('volume create v --size 4M');
    await tidemark.write('v', filled(1));
    const first = await tidemark.moment();
    await tidemark.write('v', filled(2));
    const second = await tidemark.moment();
    await tidemark.write('v', filled(3));
    await tidemark.json(`view create v --at ${first} --name w`);
    expect(await tidemark.holds('w', filled(1))).toBe(true);
    await tidemark.write('w', filled(9, '1M'));
    await tidemark.json(`view refresh w --at ${second} --disconnect`);
    expect(await tidemark.holds('w', filled(2))).toBe(true);

    await tidemark.json(`volume rollback v --to ${first} --disconnect --yes`);
    expect(await tidemark.holds('v', filled(1))).toBe(true);
    await tidemark.write('v', filled(4));
    // A time before the rollback means the line of then, one behind it the present one.
    const named = await tidemark.json(`snapshot create v before --at ${second}`);
    expect(named).toMatchObject({ at: second, momentMs: Date.parse(second), consistency: 'crash' });
    await tidemark.killEngine();
    expect(await tidemark.holds('v', filled(4))).toBe(true);
    expect(await tidemark.holds('v@before', filled(2))).toBe(true);
    expect(await tidemark.holds('w', filled(2))).toBe(true);
    await tidemark.json(`view create v --at ${first} --name x`);
    expect(await tidemark.holds('x', filled(1))).toBe(true);
    await tidemark.json('volume rollback v --undo --disconnect --yes');
    expect(await tidemark.holds('v', filled(3))).toBe(true);
    expect(await tidemark.json('pool rebuild')).toMatchObject({ result: { wasEqual: true } });
  });

  it('are one cut across volumes that nobody grouped', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    for (const name of ['a', 'b']) await tidemark.json(`volume create ${name} --size 4M`);
    await tidemark.write('a', filled(1));
    await tidemark.write('b', filled(1));
    const then = await tidemark.moment();
    await tidemark.write('a', filled(2));
    await tidemark.write('b', filled(2));
    const made = await tidemark.json(`view create a b --at ${then} --name-suffix .then`);
    expect((made as ViewList).views.map(({ name, at }) => [name, at])).toEqual([
      ['a.then', then],
      ['b.then', then],
    ]);
    for (const name of ['a.then', 'b.then']) {
      expect(await tidemark.holds(name, filled(1))).toBe(true);
    }
  });

  it('differ in what was written, trimmed and zeroed', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.json('volume create v --size 64M');
    await tidemark.write('v', filled(1, '0', '1M'));
    const from = await tidemark.moment();
    await tidemark.write('v', [...filled(2, '8k', '8k'), ...filled(2, '60M', '4k')]);
    const to = await tidemark.moment();
    await tidemark.write('v', filled(3));
    const { extents } = (await tidemark.json(`diff v --from ${from} --to ${to}`)) as Diff;
    expect(extents).toEqual([
      { offset: 8192, length: 8192 },
      { offset: 60 * 2 ** 20, length: 4096 },
    ]);
    const text = (await tidemark.cli(`diff v --from ${to} --to ${from}`)).stdout;
    expect(text).toMatch(/^12 KiB in 2 extents differ between /);
    expect((await tidemark.cli(`diff v --from ${to} --to ${to}`)).stdout).toMatch(
      /^no difference /,
    );
  });

  it('show in the history: how much changed when, and when nothing did', async () => {
    await using tidemark = new Tidemark();
    await tidemark.start();
    await tidemark.json('volume create v --size 4M');
    await tidemark.write('v', filled(1, '0', '1M'));
    await sleep(1100);
    await tidemark.write('v', filled(2));
    const { rate } = (await tidemark.json('volume history v')) as { rate: Rate };
    const written = rate.buckets.reduce((sum, each) => sum + each.writtenBytes, 0);
    expect(written).toBe(2 ** 20 + 65_536);
    // Before the first write and behind the last one it may have been quiet for longer: that is for the machine to say.
    const [longest] = rate.gaps.filter(
      ({ fromMs, toMs }) => fromMs > rate.fromMs && toMs < rate.toMs,
    );
    expect(longest).toBeDefined();
    await tidemark.json(`view create v --at position:${longest?.position ?? 0} --name quiet`);
    expect(await tidemark.holds('quiet', filled(1))).toBe(true);
    const { stdout } = await tidemark.cli('volume history v');
    expect(stdout).toMatch(/\nwindow +every moment since /);
    expect(stdout).toMatch(/\nwritten +[·▁▂▃▄▅▆▇█]{60} {2}1\.1 MiB, \d+ changes\n/);
    const since = (await tidemark.json('volume history v --since -500ms')) as { rate: Rate };
    expect(since.rate.toMs - since.rate.fromMs).toBeLessThan(5000);
  });
});

/** A volume with 60 writes, of which the 41st wrote the byte 66 to its beginning. */
async function damaged(tidemark: Tidemark): Promise<string> {
  await tidemark.start();
  await tidemark.json('volume create v --size 4M');
  await tidemark.write('v', filled(65, '0', '4k'));
  const good = await tidemark.moment();
  const writes = Array.from({ length: 60 }, (_, index) =>
    index === 40
      ? { byte: 66, offset: '0', length: '4k' }
      : { byte: index + 1, offset: `${(index + 1) * 16}k`, length: '4k' },
  );
  await tidemark.write('v', writes);
  return good;
}

async function viewNames(tidemark: Tidemark): Promise<string[]> {
  const { views } = (await tidemark.json('view list')) as { views: View[] };
  return views.map(({ name }) => name);
}

describeWith(['qemu-utils'], 'bisect', () => {
  it('finds the single write, and leaves nothing behind', async () => {
    await using tidemark = new Tidemark();
    const good = await damaged(tidemark);
    const check = tidemark.script('check', [
      'qemu-io -f raw -c "read -P 65 0 4k" "$1" | grep -q "Pattern verification failed" && exit 1',
      'exit 0',
    ]);
    const program = tidemark.script('find', [
      `exec ${cliPath} --data ${tidemark.folder} --json bisect v --good ${good} --bad now --run "${check} {}"`,
    ]);
    const search = new Background(program, []);
    await until('the search ends', withinMs, () => !search.isRunning);
    const found = JSON.parse(search.output.slice(search.output.indexOf('{\n'))) as {
      lastGood: { at: string };
      firstBad: object;
      probes: number;
    };
    expect(found.firstBad).toMatchObject({ kind: 'write', offset: 0, length: 4096 });
    expect(found.probes).toBeLessThanOrEqual(9);
    expect(await viewNames(tidemark)).toEqual([]);
    await tidemark.json(`snapshot create v last-good --at ${found.lastGood.at}`);
    expect(await tidemark.holds('v@last-good', filled(65, '0', '4k'))).toBe(true);
    // Everything before the bad write is in it, nothing behind it.
    expect(await tidemark.holds('v@last-good', filled(40, '640k', '4k'))).toBe(true);
    expect(await tidemark.holds('v@last-good', filled(0, '672k', '4k'))).toBe(true);
  });

  it('deletes its view and ends the command when it is interrupted', async () => {
    await using tidemark = new Tidemark();
    const good = await damaged(tidemark);
    const slow = tidemark.script('slow', [
      'sleep 300 & echo $! > "$(dirname "$0")/sleeping"',
      'wait',
    ]);
    const program = tidemark.script('find', [
      `exec ${cliPath} --data ${tidemark.folder} bisect v --good ${good} --bad now --run ${slow}`,
    ]);
    const search = new Background(program, []);
    const note = path.join(tidemark.folder, 'sleeping');
    await until('the command runs', withinMs, () => fs.existsSync(note));
    const sleeping = Number(fs.readFileSync(note, 'utf8'));
    expect(await viewNames(tidemark)).toHaveLength(1);
    await search.stop('SIGINT');
    expect(search.output).toContain('interrupted; the views that it made are deleted');
    expect(await viewNames(tidemark)).toEqual([]);
    expect(isAlive(sleeping)).toBe(false);
  });
});
