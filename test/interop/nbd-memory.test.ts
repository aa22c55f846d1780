/**
 * Real NBD clients against the NBD room alone, over a device in memory: what fails here is the protocol's fault, not
 * the store's.
 */
import { once } from 'node:events';
import fs from 'node:fs';
import { connect, type Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ByteStream } from '../../src/base/ports.ts';
import { Staging } from '../../src/device/staging.ts';
import { StagingDoor } from '../../src/device/staging-door.ts';
import {
  type ListenDone,
  listenTcp,
  listenUnix,
  type StreamListener,
} from '../../src/host/socket.ts';
import { systemTimers } from '../../src/host/timers.ts';
import { plainDoor } from '../../src/nbd/door.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { describeWith } from '../support/interop.ts';
import { MemoryDevice } from '../support/memory-device.ts';
import { MemoryExports } from '../support/memory-exports.ts';
import { run, tryRun } from '../support/run.ts';

const mebi = 1 << 20;
const tools = [
  'libnbd-bin',
  'nbdkit',
  'qemu-utils',
  'fio',
  'nbd-client',
  'python3-libnbd',
] as const;

/** `nbdsh` commands, run by Debian's own Python; any failed assertion fails the run. */
async function nbdsh(uri: string, script: string): Promise<void> {
  const env = { PATH: `/usr/bin:${process.env['PATH'] ?? ''}` };
  await run('nbdsh', ['-u', uri, '-c', script], { env });
}

describeWith([...tools], 'NBD clients and a device in memory', () => {
  const staging = new Staging(new SharedArrayBuffer(32 * mebi));
  const exports = new MemoryExports();
  const listeners: StreamListener[] = [];
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const server = new NbdServer({
    exports,
    staging: new StagingDoor(staging),
    timers: systemTimers,
    log,
  });
  const freeBytes = staging.freeBytes;
  let folder = '';
  let socketPath = '';
  let port = 0;

  const accept = (stream: ByteStream): void => {
    server.accept(stream, plainDoor);
  };

  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-nbd-'));
    socketPath = path.join(folder, 'nbd.sock');
    await listening((done) => {
      listenUnix(socketPath, accept, done);
    });
    const { port: bound } = await listening((done) => {
      listenTcp({ address: '127.0.0.1', port: 0 }, accept, done);
    });
    port = bound;
  });

  afterAll(async () => {
    for (const listener of listeners) listener.close();
    await new Promise<void>((resolve) => {
      server.stop(2000, resolve);
    });
    fs.rmSync(folder, { recursive: true, force: true });
    // Whatever the clients did, nothing of it is left.
    expect(staging.freeBytes).toBe(freeBytes);
    expect(exports.openCount).toBe(0);
  });

  async function listening(listen: (done: ListenDone) => void): Promise<StreamListener> {
    const { promise, resolve, reject } = Promise.withResolvers<StreamListener>();
    listen((error, listener) => {
      if (listener === undefined) reject(error ?? new Error('no listener'));
      else resolve(listener);
    });
    const listener = await promise;
    listeners.push(listener);
    return listener;
  }

  function add(name: string, sizeBytes: number, isReadOnly = false): MemoryDevice {
    return exports.add(new MemoryDevice({ name, sizeBytes, isReadOnly, slab: staging.bytes }));
  }
  const unix = (name: string): string => `nbd+unix:///${name}?socket=${socketPath}`;
  const tcp = (name: string): string => `nbd://127.0.0.1:${port}/${name}`;

  it('nbdinfo sees what was promised', async () => {
    add('info', 5 * mebi);
    const { stdout } = await run('nbdinfo', ['--json', unix('info')]);
    // nbdinfo's documented JSON.
    const [found] = (JSON.parse(stdout) as { exports: readonly object[] }).exports;
    expect(found).toMatchObject({
      'export-name': 'info',
      description: 'memory device info',
      contexts: ['base:allocation'],
      is_read_only: false,
      can_cache: true,
      can_df: true,
      can_fast_zero: true,
      can_flush: true,
      can_fua: true,
      can_multi_conn: true,
      can_trim: true,
      can_zero: true,
      block_size_minimum: 1,
      block_size_preferred: 4096,
      block_size_maximum: 32 * mebi,
      'export-size': 5 * mebi,
    });
  });

  it('nbdinfo and nbd-client list every export', async () => {
    add('list@snap', 4096, true);
    const { stdout } = await run('nbdinfo', ['--list', '--json', tcp('')]);
    expect(stdout).toContain('list@snap');
    const listed = await run('/usr/sbin/nbd-client', ['-l', '127.0.0.1', String(port)]);
    expect(listed.stdout).toContain('list@snap');
  });

  it.each([
    ['a unix socket', unix],
    ['TCP', tcp],
  ])('nbdcopy both ways over %s is equal to the byte, and sparse', async (_, uri) => {
    add('copy', 256 * mebi);
    const sparse = ['nbdkit', '--exit-with-parent', 'sparse-random', 'size=256M', 'seed=7'];
    await run('nbdcopy', ['--', '[', ...sparse, ']', uri('copy')]);
    const checked = ['nbdkit', '--exit-with-parent', '--filter=checkwrite', ...sparse.slice(2)];
    await run('nbdcopy', ['--', uri('copy'), '[', ...checked, ']']);
    const { stdout } = await run('nbdinfo', ['--map', '--totals', '--json', uri('copy')]);
    // nbdinfo's documented JSON.
    const totals = JSON.parse(stdout) as readonly { type: number; size: number }[];
    expect(totals.map(({ type }) => type).sort((a, b) => a - b)).toEqual([0, 3]);
    expect(totals.reduce((sum, { size }) => sum + size, 0)).toBe(256 * mebi);
  });

  it('qemu-io patterns: aligned or not, FUA, zeroes with and without unmap, discard', async () => {
    add('qemu', 64 * mebi);
    const commands = [
      'write -P 0x55 0 1M',
      'write -f -P 0x66 1M 64k',
      'write -P 0x77 5000001 70001',
      'write -z -u 2M 1M',
      'write -z 512k 4k',
      'discard 256k 64k',
      'flush',
      'read -P 0x55 0 256k',
      'read -P 0 256k 64k',
      'read -P 0 512k 4k',
      'read -P 0x66 1M 64k',
      'read -P 0 2M 1M',
      'read -P 0x77 5000001 70001',
      'read -P 0 5070002 1M',
    ];
    const args = commands.flatMap((command) => ['-c', command]);
    const { stdout } = await run('qemu-io', ['-f', 'raw', unix('qemu'), ...args]);
    expect(stdout).not.toMatch(/verification failed|error/i);
  });

  it('qemu-img converts in and out, and compares equal', async () => {
    add('image', 64 * mebi);
    const source = path.join(folder, 'source.raw');
    fs.writeFileSync(source, Buffer.alloc(64 * mebi));
    await run('qemu-io', [
      '-f',
      'raw',
      '-c',
      'write -P 9 5M 3M',
      '-c',
      'write -P 8 40M 1k',
      source,
    ]);
    await run('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', source, unix('image')]);
    await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, unix('image')]);
    const back = path.join(folder, 'back.qcow2');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', tcp('image'), back]);
    await run('qemu-img', ['compare', source, back]);
  });

  it.each([
    ['a unix socket', unix],
    ['TCP', tcp],
  ])('fio verifies random writes of mixed sizes over %s', async (_, uri) => {
    add('fio', 64 * mebi);
    const { stdout } = await run(
      'fio',
      [
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${uri('fio')}`,
        '--rw=randwrite',
        '--bsrange=512-256k',
        '--bs_unaligned',
        '--size=64m',
        '--iodepth=32',
        '--verify=crc32c',
        '--verify_fatal=1',
        '--output-format=json',
        // fio leaves a file about its verification where it runs.
      ],
      { cwd: folder },
    );
    // fio exits with 0 though it did nothing: the counts are the proof.
    const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
      jobs: readonly { error: number; read: { total_ios: number }; write: { total_ios: number } }[];
    };
    const [job] = report.jobs;
    expect(job?.error).toBe(0);
    expect(job?.write.total_ios).toBeGreaterThan(100);
    expect(job?.read.total_ios).toBe(job?.write.total_ios);
  });

  it('libnbd: invalid requests are refused with the right error and the connection lives', async () => {
    add('rules', mebi);
    await nbdsh(
      unix('rules'),
      `
import errno
h.set_strict_mode(0)
def fails(expected, call):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == expected, (error.errnum, expected)
    else:
        raise AssertionError("no error")
fails(errno.EINVAL, lambda: h.pread(10, h.get_size()))
fails(errno.ENOSPC, lambda: h.pwrite(b"x" * 10, h.get_size() - 5))
fails(errno.ENOSPC, lambda: h.zero(10, h.get_size()))
fails(errno.EINVAL, lambda: h.trim(10, h.get_size()))
fails(errno.ENOTSUP, lambda: h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE))
h.pwrite(b"hello", 3, nbd.CMD_FLAG_FUA)
assert h.pread(7, 2) == b"\\0hello\\0"
h.flush()
h.cache(4096, 0)
h.zero(4096, 0, nbd.CMD_FLAG_FAST_ZERO)
assert h.pread(5, 3) == bytes(5)
`,
    );
  });

  it('libnbd: a read-only export refuses changes with EPERM', async () => {
    add('fixed', mebi, true);
    await nbdsh(
      unix('fixed'),
      `
import errno
h.set_strict_mode(0)
assert h.is_read_only()
for call in (lambda: h.pwrite(b"x", 0), lambda: h.zero(1, 0), lambda: h.trim(1, 0)):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == errno.EPERM, error.errnum
    else:
        raise AssertionError("no error")
assert h.pread(4, 0) == bytes(4)
`,
    );
  });

  it('libnbd: a bad block fails its own reads and no other', async () => {
    const device = add('rotten', mebi);
    device.badBlocks.add(3);
    await nbdsh(
      unix('rotten'),
      `
import errno
h.pwrite(b"y" * 65536, 0)
for block in range(16):
    try:
        assert h.pread(4096, block * 4096) == b"y" * 4096
        assert block != 3
    except nbd.Error as error:
        assert block == 3 and error.errnum == errno.EIO
try:
    h.pread(65536, 0)
    raise AssertionError("no error")
except nbd.Error as error:
    assert error.errnum == errno.EIO
`,
    );
  });

  it('1,000 idle connections and a few stalled ones do not disturb a client', async () => {
    const idle: Socket[] = [];
    try {
      for (let index = 0; index < 1000; index += 1) {
        const socket = connect({ path: socketPath });
        socket.on('error', () => undefined);
        idle.push(socket);
        await once(socket, 'connect');
        // Some say half a handshake, some rubbish, most nothing at all.
        if (index % 10 === 1) socket.write(Buffer.from([0, 0, 0, 3, 0x49]));
        if (index % 10 === 2) socket.write(Buffer.alloc(50, 0xff));
      }
      add('calm', 16 * mebi);
      const pattern = ['nbdkit', '--exit-with-parent', 'pattern', '16M'];
      await run('nbdcopy', ['--', '[', ...pattern, ']', unix('calm')]);
      await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', unix('calm'), tcp('calm')]);
    } finally {
      for (const socket of idle) socket.destroy();
    }
  });

  it('a client that is killed in the middle leaves nothing behind', async () => {
    const device = add('killed', 64 * mebi);
    for (let round = 0; round < 3; round += 1) {
      const result = await tryRun(
        'fio',
        [
          '--name=k',
          // One process: fio would fork, and its child survive.
          '--thread',
          '--ioengine=nbd',
          `--uri=${unix('killed')}`,
          '--rw=randrw',
          '--bs=256k',
          '--size=64m',
          '--iodepth=32',
          '--time_based',
          '--runtime=20',
        ],
        { timeoutMs: 700, cwd: folder },
      );
      expect(result.code).toBe(-1);
    }
    while (exports.openCountOf('killed') > 0) await new Promise((done) => setTimeout(done, 5));
    expect(device.heldCount).toBe(0);
    expect(staging.freeBytes).toBe(freeBytes);
  });
});
