/** TLS and many connections with real clients: GnuTLS behind libnbd and qemu, against a real appliance. */
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Appliance } from '../support/appliance.ts';
import { describeWith } from '../support/interop.ts';
import { type RunResult, run, tryRun, until } from '../support/run.ts';
import { TestAuthority } from '../support/tls-identities.ts';

const mebi = 1 << 20;
const gnutls = ['libnbd-bin', 'nbdkit', 'qemu-utils', 'python3-libnbd'] as const;

/** `nbdsh` commands, run by Debian's own Python; any failed assertion fails the run. */
async function nbdsh(script: string): Promise<RunResult> {
  const env = { PATH: `/usr/bin:${process.env['PATH'] ?? ''}` };
  return await run('nbdsh', ['-c', script], { env });
}

class Secured {
  readonly appliance: Appliance;
  readonly port: number;
  /** Folder with the authority's certificate only. */
  readonly authorityFolder: string;

  private constructor(appliance: Appliance, port: number) {
    this.appliance = appliance;
    this.port = port;
    this.authorityFolder = path.join(appliance.folder, 'authority');
    fs.mkdirSync(this.authorityFolder);
    fs.copyFileSync(
      path.join(appliance.dataFolder, 'tls/ca-cert.pem'),
      path.join(this.authorityFolder, 'ca-cert.pem'),
    );
  }

  static async start(args: readonly string[]): Promise<Secured> {
    const appliance = await Appliance.start({ args: ['--nbd-tls', 'required', ...args] });
    const { tcp } = (await appliance.pool()).nbd;
    expect(tcp?.tls).toBe('required');
    return new Secured(appliance, tcp?.port ?? 0);
  }

  uri(name: string, folder = this.authorityFolder): string {
    return `nbds://localhost:${this.port}/${name}?tls-certificates=${folder}`;
  }

  plainUri(name: string): string {
    return `nbd://localhost:${this.port}/${name}`;
  }

  /** Arguments with which qemu's programs open an export. */
  qemu(name: string, folder = this.authorityFolder): string[] {
    const credentials = `tls-creds-x509,id=tls0,dir=${folder},endpoint=client`;
    return ['--object', credentials, ...this.#qemuImage(name)];
  }

  qemuByKey(name: string, folder: string, user: string): string[] {
    const credentials = `tls-creds-psk,id=tls0,dir=${folder},username=${user},endpoint=client`;
    return ['--object', credentials, ...this.#qemuImage(name)];
  }

  #qemuImage(name: string): string[] {
    const image = `driver=nbd,host=localhost,port=${this.port},export=${name},tls-creds=tls0`;
    return ['--image-opts', image];
  }

  /** A folder as `tidemark tls client` makes it. */
  async client(name: string): Promise<string> {
    const folder = path.join(this.appliance.folder, name);
    const { program, args } = this.appliance.cliArgs(['tls', 'client', name, '--out', folder]);
    await run(program, args);
    return folder;
  }

  engineLog(): string {
    return fs.readFileSync(path.join(this.appliance.dataFolder, 'run/main.log'), 'utf8');
  }
}

/** A certificate folder of an authority that the appliance does not know. */
function foreignFolder(parent: string): string {
  const folder = path.join(parent, 'foreign');
  const authority = new TestAuthority('foreign');
  const { certificatePem, keyPem } = authority.client('backup1');
  fs.mkdirSync(folder);
  fs.writeFileSync(path.join(folder, 'ca-cert.pem'), authority.pem);
  fs.writeFileSync(path.join(folder, 'client-cert.pem'), certificatePem);
  fs.writeFileSync(path.join(folder, 'client-key.pem'), keyPem);
  return folder;
}

describeWith([...gnutls, 'fio', 'nbd-client'], 'TLS without client certificates', () => {
  let secured: Secured;
  let folder: string;

  beforeAll(async () => {
    secured = await Secured.start([]);
    folder = secured.appliance.folder;
    await secured.appliance.volumeCreate('disk', 64 * mebi);
  });

  afterAll(async () => {
    await secured.appliance.remove();
  });

  it('nbdinfo sees TLS, and that many connections are one state', async () => {
    const { stdout } = await run('nbdinfo', ['--json', secured.uri('disk')]);
    // nbdinfo's documented JSON.
    const info = JSON.parse(stdout) as { TLS: boolean; exports: readonly object[] };
    expect(info.TLS).toBe(true);
    expect(info.exports[0]).toMatchObject({ 'export-name': 'disk', can_multi_conn: true });
  });

  it('nbdcopy with 4 connections is equal to the byte, both ways', async () => {
    await secured.appliance.volumeCreate('copy', 128 * mebi);
    const source = path.join(folder, 'source.raw');
    const back = path.join(folder, 'back.raw');
    const sparse = ['nbdkit', '--exit-with-parent', 'sparse-random', 'size=128M', 'seed=11'];
    await run('nbdcopy', ['--', '[', ...sparse, ']', source]);
    await run('nbdcopy', ['--connections=4', source, secured.uri('copy')]);
    await run('nbdcopy', ['--connections=4', secured.uri('copy'), back]);
    await run('cmp', [source, back]);
  });

  it('qemu-img copies in and out, and compares equal', async () => {
    await secured.appliance.volumeCreate('image', 32 * mebi);
    const source = path.join(folder, 'image.raw');
    fs.writeFileSync(source, randomBytes(32 * mebi));
    const [object = '', credentials = '', , image = ''] = secured.qemu('image');
    await run('qemu-img', [
      ...['convert', '-n', '-f', 'raw', object, credentials],
      ...[source, '--target-image-opts', image],
    ]);
    const out = path.join(folder, 'image.out');
    fs.writeFileSync(out, '');
    fs.truncateSync(out, 32 * mebi);
    await run('qemu-img', [
      ...['convert', '-n', ...secured.qemu('image')],
      ...['--target-image-opts', `driver=raw,file.driver=file,file.filename=${out}`],
    ]);
    await run('cmp', [source, out]);
  });

  it('fio verifies random writes at depth 32', async () => {
    await secured.appliance.volumeCreate('fio', 32 * mebi);
    const uri = `nbds://localhost:${secured.port}/fio`;
    const { stdout } = await run(
      'fio',
      [
        ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k'],
        ...['--size=32m', '--iodepth=32', '--verify=crc32c', '--verify_fatal=1'],
        '--output-format=json',
      ],
      { cwd: folder },
    );
    // fio exits with 0 though it did nothing: the counts are the proof.
    const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
      jobs: readonly { error: number; read: { total_ios: number } }[];
    };
    expect(report.jobs[0]).toMatchObject({ error: 0, read: { total_ios: (32 * mebi) / 4096 } });
  });

  it('nbd-client lists the exports', async () => {
    const authority = path.join(secured.authorityFolder, 'ca-cert.pem');
    const args = ['-l', 'localhost', String(secured.port), '-A', authority, '-enable-tls'];
    const { stdout } = await run('/usr/sbin/nbd-client', args);
    expect(stdout).toContain('disk');
  });

  it('200 reads of 4 KiB, one after the other, never wait for a delayed acknowledgement', async () => {
    // With a delayed acknowledgement per read this takes 8 s at least; as it is, some 50 ms.
    const { stdout } = await nbdsh(`
import time
h.set_uri_allow_local_file(True)
h.connect_uri("${secured.uri('disk')}")
h.pwrite(b"z" * 1048576, 0)
began = time.monotonic()
for i in range(200):
    assert h.pread(4096, i * 4096) == b"z" * 4096
print(time.monotonic() - began)
`);
    expect(Number(stdout)).toBeGreaterThan(0);
    expect(Number(stdout)).toBeLessThan(4);
  });

  it('a client in the clear is told what is missing, and learns nothing', async () => {
    const libnbd = await tryRun('nbdinfo', ['--size', secured.plainUri('disk')]);
    expect(libnbd.stderr).toContain('server requires TLS encryption first');
    const image = ['--image-opts', `driver=nbd,host=localhost,port=${secured.port},export=disk`];
    const qemu = await tryRun('qemu-img', ['info', ...image]);
    expect(qemu.stderr).toContain('TLS negotiation required');
    const list = await tryRun('nbdinfo', ['--list', secured.plainUri('')]);
    expect(list.stdout + list.stderr).not.toContain('disk');
  });

  it('clients refuse an appliance whose authority they do not know', async () => {
    const foreign = foreignFolder(folder);
    expect((await tryRun('nbdinfo', [secured.uri('disk', foreign)])).code).not.toBe(0);
    const qemu = await tryRun('qemu-img', ['info', ...secured.qemu('disk', foreign)]);
    expect(qemu.stderr).toContain("certificate hasn't got a known issuer");
    await run('nbdinfo', [secured.uri('disk')]);
  });

  it('the unix socket stays in the clear', async () => {
    const { stdout } = await run('nbdinfo', ['--json', secured.appliance.uri('disk')]);
    expect(JSON.parse(stdout)).toMatchObject({ TLS: false });
  });
});

describeWith(gnutls, 'TLS with client certificates and shared keys', () => {
  let secured: Secured;
  let backup: string;
  let keys: string;
  const key = randomBytes(32).toString('hex');

  beforeAll(async () => {
    const parent = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-keys-'));
    keys = path.join(parent, 'keys.psk');
    fs.writeFileSync(keys, `alice:${key}\n`, { mode: 0o600 });
    secured = await Secured.start([
      ...['--nbd-tls-client-certificates', 'required'],
      ...['--nbd-tls-psk', keys],
    ]);
    await secured.appliance.volumeCreate('disk', 16 * mebi);
    backup = await secured.client('backup1');
  });

  afterAll(async () => {
    await secured.appliance.remove();
    fs.rmSync(path.dirname(keys), { recursive: true });
  });

  const keyUri = (identity: string, file: string): string =>
    `nbds://${identity}@localhost:${secured.port}/disk?tls-psk-file=${file}`;

  /** Another file of keys. */
  function keyFile(name: string, line: string): string {
    const folder = path.join(path.dirname(keys), name);
    fs.mkdirSync(folder);
    const file = path.join(folder, 'keys.psk');
    fs.writeFileSync(file, `${line}\n`, { mode: 0o600 });
    return file;
  }

  describe('a certificate', () => {
    it('that the command line made opens the volume, and its name is in the log', async () => {
      await run('nbdinfo', [secured.uri('disk', backup)]);
      await run('qemu-img', ['info', ...secured.qemu('disk', backup)]);
      const pattern = ['nbdkit', '--exit-with-parent', 'pattern', '16M'];
      await run('nbdcopy', ['--', '[', ...pattern, ']', secured.uri('disk', backup)]);
      expect(secured.engineLog()).toContain('"identity":"backup1"');
    });

    it('that is missing or foreign is refused, and harms nobody', async () => {
      const openedBefore = secured.engineLog().split('opened an export').length;
      const foreign = foreignFolder(secured.appliance.folder);
      const authority = path.join(secured.authorityFolder, 'ca-cert.pem');
      // It knows the appliance, but the appliance does not know it.
      fs.copyFileSync(authority, path.join(foreign, 'ca-cert.pem'));
      for (const folder of [secured.authorityFolder, foreign]) {
        expect((await tryRun('nbdinfo', [secured.uri('disk', folder)])).code).not.toBe(0);
        const qemu = await tryRun('qemu-img', ['info', ...secured.qemu('disk', folder)]);
        expect(qemu.code).not.toBe(0);
      }
      expect(secured.engineLog().split('opened an export')).toHaveLength(openedBefore);
      expect(secured.engineLog()).toContain('TLS failed');
      await run('nbdinfo', [secured.uri('disk', backup)]);
    });
  });

  describe('a shared key', () => {
    it('opens the volume, and its name is in the log', async () => {
      await run('nbdinfo', [keyUri('alice', keys)]);
      await run('qemu-img', ['info', ...secured.qemuByKey('disk', path.dirname(keys), 'alice')]);
      expect(secured.engineLog()).toContain('"identity":"alice"');
    });

    it('that is wrong or unknown is refused, and harms nobody', async () => {
      const wrong = keyFile('wrong', `alice:${'00'.repeat(32)}`);
      const unknown = keyFile('unknown', `mallory:${key}`);
      const openedBefore = secured.engineLog().split('opened an export').length;
      expect((await tryRun('nbdinfo', [keyUri('alice', wrong)])).code).not.toBe(0);
      expect((await tryRun('nbdinfo', [keyUri('mallory', unknown)])).code).not.toBe(0);
      const byKey = secured.qemuByKey('disk', path.dirname(wrong), 'alice');
      expect((await tryRun('qemu-img', ['info', ...byKey])).code).not.toBe(0);
      expect(secured.engineLog().split('opened an export')).toHaveLength(openedBefore);
      await run('nbdinfo', [keyUri('alice', keys)]);
    });
  });

  it('an engine that was killed comes back with TLS, and so does a daemon', async () => {
    const { appliance } = secured;
    const isPlainRefused = async (): Promise<boolean> => {
      const { stderr } = await tryRun('nbdinfo', ['--size', secured.plainUri('disk')]);
      return stderr.includes('server requires TLS encryption first');
    };
    const pid = await appliance.enginePid();
    await appliance.killEngine(pid);
    await until('TLS is back', 20_000, isPlainRefused);
    await run('nbdinfo', [secured.uri('disk', backup)]);
    await appliance.killDaemon();
    expect(await isPlainRefused()).toBe(true);
  });
});

describeWith(gnutls, 'many connections', () => {
  let secured: Secured;

  beforeAll(async () => {
    secured = await Secured.start([]);
    await secured.appliance.volumeCreate('shared', 64 * mebi);
  });

  afterAll(async () => {
    await secured.appliance.remove();
  });

  it('see each other’s answered writes at once, and one flush covers them all', async () => {
    await nbdsh(`
import os
a, b = nbd.NBD(), nbd.NBD()
a.connect_uri("${secured.appliance.uri('shared')}")
b.set_uri_allow_local_file(True)
b.connect_uri("${secured.uri('shared')}")
assert a.can_multi_conn() and b.can_multi_conn()
for i in range(200):
    data = os.urandom(4096 + 512 * (i % 3))
    offset = (i * 7919 * 512) % (60 << 20)
    writer, reader = (a, b) if i % 2 == 0 else (b, a)
    writer.pwrite(data, offset)
    assert reader.pread(len(data), offset) == data
    reader.flush()
    assert writer.pread(len(data), offset) == data
    if i % 10 == 0:
        writer.zero(4096, offset)
        assert reader.pread(4096, offset) == bytes(4096)
`);
  });
});
