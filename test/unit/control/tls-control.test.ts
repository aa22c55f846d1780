/** Certificates on disk: made, renewed, kept; and judged by OpenSSL, not by the code that made them. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeAuthority, makeServer } from '../../../src/control/tls-certificates.ts';
import { containing } from '../../support/matching.ts';
import { tlsIn } from '../../support/tls.ts';
import { VirtualTime } from '../../support/virtual-time.ts';

const nowMs = new VirtualTime().wallMs();
const dayMs = 86_400_000;
const required = { nbdTls: 'required', nbdTlsClientCertificates: 'required' } as const;

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-tls-'));
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

const file = (name: string): string => path.join(folder, 'tls', name);
const textOf = (name: string): string => fs.readFileSync(file(name), 'utf8');
const certificate = (name: string): X509Certificate => new X509Certificate(textOf(name));
const validDays = ({ validToDate }: X509Certificate): number =>
  Math.round((validToDate.getTime() - nowMs) / dayMs);

/** Puts a server certificate of the present authority there. */
function putServer(days: number, hosts: readonly string[]): string {
  const authority = {
    certificate: certificate('ca-cert.pem'),
    key: createPrivateKey(textOf('ca-key.pem')),
  };
  const made = makeServer(authority, { name: 'x', nowMs, days }, hosts);
  fs.writeFileSync(file('server-cert.pem'), made.certificatePem);
  fs.writeFileSync(file('server-key.pem'), made.keyPem);
  return made.certificatePem;
}

/** An authority that is kept elsewhere, and a server's pair of it. */
function bring(days: number): string {
  const ca = makeAuthority({ name: 'corporate', nowMs, days: 100 });
  fs.mkdirSync(path.join(folder, 'tls'));
  fs.writeFileSync(file('ca-cert.pem'), ca.certificatePem);
  fs.writeFileSync(file('ca-key.pem'), ca.keyPem);
  const server = putServer(days, ['storage.example']);
  fs.rmSync(file('ca-key.pem'));
  return server;
}

/** What the daemon makes of a file of shared keys. */
async function keysOf(text: string, mode = 0o600): Promise<unknown> {
  const keysPath = path.join(folder, 'keys.psk');
  fs.writeFileSync(keysPath, text);
  fs.chmodSync(keysPath, mode);
  const tls = tlsIn(folder, { nbdTls: 'required', nbdTlsKeysPath: keysPath });
  return (await tls.listenerTls())?.keyByIdentity;
}

describe('certificates', () => {
  it('are not made while TLS is off and nobody asks', async () => {
    expect(await tlsIn(folder).listenerTls()).toBeUndefined();
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  it('are made at the first start, private, and form a chain', async () => {
    const tls = await tlsIn(folder, required).listenerTls();
    expect(fs.readdirSync(path.join(folder, 'tls')).sort()).toEqual([
      'ca-cert.pem',
      'ca-key.pem',
      'server-cert.pem',
      'server-key.pem',
    ]);
    expect(fs.statSync(file('ca-key.pem')).mode & 0o777).toBe(0o600);
    expect(fs.statSync(path.join(folder, 'tls')).mode & 0o777).toBe(0o700);
    const authority = certificate('ca-cert.pem');
    const server = certificate('server-cert.pem');
    expect(authority.ca).toBe(true);
    expect(server.ca).toBe(false);
    expect(authority.verify(authority.publicKey)).toBe(true);
    expect(server.verify(authority.publicKey)).toBe(true);
    expect(server.checkIssued(authority)).toBe(true);
    expect(server.checkPrivateKey(createPrivateKey(textOf('server-key.pem')))).toBe(true);
    expect([validDays(authority), validDays(server)]).toEqual([3650, 730]);
    for (const name of ['localhost', os.hostname()]) expect(server.checkHost(name)).toBeDefined();
    for (const address of ['127.0.0.1', '::1']) expect(server.checkIP(address)).toBeDefined();
    expect(tls).toEqual({
      certificatePem: textOf('server-cert.pem'),
      keyPem: textOf('server-key.pem'),
      clientAuthorityPem: textOf('ca-cert.pem'),
    });
  });

  it('stay as they are at the next start', async () => {
    const lines: string[] = [];
    const before = await tlsIn(folder, required).listenerTls();
    expect(await tlsIn(folder, required, lines).listenerTls()).toEqual(before);
    expect(lines).toEqual([]);
  });

  it('are made once when several ask at the same time', async () => {
    const tls = tlsIn(folder);
    const made = await Promise.all(['a', 'b'].map(async (name) => await tls.tlsClientCreate(name)));
    expect(made[0]?.authorityPem).toBe(made[1]?.authorityPem);
    expect(made[0]?.authorityPem).toBe(textOf('ca-cert.pem'));
  });

  it('for a client prove its name to this authority, for two years', async () => {
    const client = await tlsIn(folder).tlsClientCreate('backup1');
    const proof = new X509Certificate(client.certificatePem);
    expect(proof.subject).toBe('CN=backup1');
    expect(proof.verify(certificate('ca-cert.pem').publicKey)).toBe(true);
    expect(proof.checkIssued(certificate('ca-cert.pem'))).toBe(true);
    expect(proof.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(proof.checkPrivateKey(createPrivateKey(client.keyPem))).toBe(true);
    expect(validDays(proof)).toBe(730);
    expect(client.fingerprint).toBe(proof.fingerprint256);
  });
});

describe('the certificate of the server is made again', () => {
  const hosts = ['localhost', '127.0.0.1', '::1', os.hostname()];

  it.each([
    ['in its last 29 days', 29, hosts, true],
    ['not before', 31, hosts, false],
    ['when a name is missing', 730, hosts.slice(1), true],
  ])('%s', async (_when, days, names, isRenewed) => {
    await tlsIn(folder, required).listenerTls();
    const old = putServer(days, names);
    const authority = textOf('ca-cert.pem');
    const lines: string[] = [];
    await tlsIn(folder, required, lines).listenerTls();
    expect(textOf('server-cert.pem') !== old).toBe(isRenewed);
    expect(textOf('ca-cert.pem')).toBe(authority);
    expect(lines).toHaveLength(isRenewed ? 1 : 0);
    expect(validDays(certificate('server-cert.pem'))).toBe(isRenewed ? 730 : days);
  });

  it('when the appliance listens on another address', async () => {
    await tlsIn(folder, required).listenerTls();
    const listenAddress = '192.0.2.7';
    await tlsIn(folder, { ...required, listenAddress }).listenerTls();
    expect(certificate('server-cert.pem').checkIP(listenAddress)).toBeDefined();
  });

  it('when a renewal was cut off between key and certificate', async () => {
    await tlsIn(folder, required).listenerTls();
    const old = textOf('server-key.pem');
    putServer(730, hosts);
    fs.writeFileSync(file('server-key.pem'), old);
    await tlsIn(folder, required).listenerTls();
    const key = createPrivateKey(textOf('server-key.pem'));
    expect(certificate('server-cert.pem').checkPrivateKey(key)).toBe(true);
  });
});

describe('files of the operator', () => {
  it('are used and not changed, and no client can be certified here', async () => {
    const server = bring(90);
    const tls = tlsIn(folder, required);
    expect(await tls.listenerTls()).toMatchObject({ certificatePem: server });
    await expect(tls.tlsClientCreate('x')).rejects.toMatchObject({
      code: 'conflict',
      message: containing('kept elsewhere'),
    });
  });

  it('that expire soon are mentioned, not renewed', async () => {
    const server = bring(5);
    const lines: string[] = [];
    await tlsIn(folder, required, lines).listenerTls();
    expect(lines).toEqual([containing('expires in 5 days, and is not ours to renew')]);
    expect(textOf('server-cert.pem')).toBe(server);
  });

  it.each([
    ['ca-cert.pem is gone', 'ca-cert.pem', undefined, 'ca-cert.pem is gone'],
    ['ca-cert.pem is damaged', 'ca-cert.pem', 'rubbish', 'ca-cert.pem: '],
    ['the key is another one', 'ca-key.pem', 'other', 'are not a pair'],
    ['the key is damaged', 'ca-key.pem', 'rubbish', 'the key of '],
  ])('that do not fit stop the start: %s', async (_what, name, content, message) => {
    await tlsIn(folder, required).listenerTls();
    const other = makeAuthority({ name: 'other', nowMs, days: 1 }).keyPem;
    if (content === undefined) fs.rmSync(file(name));
    else fs.writeFileSync(file(name), content === 'other' ? other : content);
    const failed = tlsIn(folder, required).listenerTls();
    await expect(failed).rejects.toMatchObject({ code: 'invalid', message: containing(message) });
  });
});

describe('the file of shared keys', () => {
  const key = 'ab'.repeat(32);

  it('has an identity and a key on each line; comments and empty lines are skipped', async () => {
    const text = `# people\nalice:${key}\n\nbob:${key.toUpperCase()}\n`;
    expect(await keysOf(text)).toEqual({ alice: key, bob: key.toUpperCase() });
  });

  it.each([
    ['no key', '', 'there is no key in it'],
    ['no colon', `alice ${key}\n`, 'line 1: it is not identity:hexkey'],
    ['no hex', 'alice:secret\n', 'line 1: it is not identity:hexkey'],
    ['half a byte', `alice:${key}a\n`, 'line 1: it is not identity:hexkey'],
    ['a short key', 'alice:abcd\n', 'line 1: the key has less than 32 hex digits'],
    ['a long key', `alice:${'ab'.repeat(129)}\n`, 'line 1: the key has more than 256'],
    ['a long identity', `${'x'.repeat(129)}:${key}\n`, 'line 1: the identity is too long'],
    ['an identity twice', `a:${key}\na:${key}\n`, 'line 2: the identity was there before'],
  ])('with %s is refused', async (_what, text, message) => {
    await expect(keysOf(text)).rejects.toMatchObject({
      code: 'invalid',
      message: containing(message),
    });
  });

  it('of 256 keys is taken, of 257 refused', async () => {
    const lines = [...Array(257).keys()].map((index) => `id${index}:${key}`);
    expect(Object.keys((await keysOf(lines.slice(1).join('\n'))) as object)).toHaveLength(256);
    await expect(keysOf(lines.join('\n'))).rejects.toMatchObject({ code: 'invalid' });
  });

  it('that others may read is refused', async () => {
    await expect(keysOf(`alice:${key}`, 0o640)).rejects.toMatchObject({
      message: containing('others than its owner'),
    });
  });

  it('that is not there is refused by name', async () => {
    const tls = tlsIn(folder, { nbdTls: 'required', nbdTlsKeysPath: '/nowhere/keys' });
    await expect(tls.listenerTls()).rejects.toMatchObject({ message: containing('/nowhere/keys') });
  });
});
