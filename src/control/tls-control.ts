/**
 * Certificates of NBD over TLS, in DIR/tls: made when first needed, renewed at a start, handed to the engine and to clients.
 *
 *     ca-cert.pem, ca-key.pem            our authority: ten years, for this appliance only
 *     server-cert.pem, server-key.pem    two years; made again when it expires soon, or when a name of this machine is not in it
 *
 * An operator who has an authority puts its certificate into ca-cert.pem, leaves ca-key.pem out and brings the server's pair:
 * such files are used and never changed.
 *
 * Invariants: an authority is never replaced, because every client would have to be told. Private keys of clients are not kept.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { present } from '../base/assert.ts';
import { OperationError, toError } from '../base/errors.ts';
import type { Clock, Log } from '../base/ports.ts';
import type { Certificate, TlsClient, TlsStatus } from '../contract/tls.ts';
import type { NbdTls } from '../engine/protocol.ts';
import { machineNames, readTextFile, replacePrivateFile } from '../host/tls-files.ts';
import { AUTHORITY_DAYS, CERTIFICATE_DAYS, RENEW_BEFORE_DAYS } from './limits.ts';
import type { Settings } from './settings.ts';
import type { Authority } from './tls-certificates.ts';
import { readSharedKeys } from './tls-keys.ts';

type TlsSettings = Pick<
  Settings,
  'dataDir' | 'listenAddress' | 'nbdTls' | 'nbdTlsClientCertificates' | 'nbdTlsKeysPath'
>;

interface Pair {
  readonly path: string;
  readonly certificatePem: string;
  readonly certificate: X509Certificate;
  /** Absent: the operator keeps it elsewhere. */
  readonly keyPem: string | undefined;
}

interface Certificates {
  readonly authority: Pair;
  readonly server: Pair & { readonly keyPem: string };
}

const dayMs = 86_400_000;
const allAddresses: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

export class TlsControl {
  readonly #settings: TlsSettings;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #folder: string;
  #ensuring: Promise<Certificates> | undefined;

  constructor(settings: TlsSettings, clock: Clock, log: Log) {
    this.#settings = settings;
    this.#clock = clock;
    this.#log = log;
    this.#folder = `${settings.dataDir}/tls`;
  }

  /** What the engine is told about its TCP listener; undefined when it is in the clear. Rejects with OperationError. */
  async listenerTls(): Promise<NbdTls | undefined> {
    const { nbdTls, nbdTlsClientCertificates, nbdTlsKeysPath } = this.#settings;
    if (nbdTls === 'off') return undefined;
    const { authority, server } = await this.#ensure();
    const { certificatePem, keyPem } = server;
    return {
      certificatePem,
      keyPem,
      ...(nbdTlsClientCertificates === 'required'
        ? { clientAuthorityPem: authority.certificatePem }
        : {}),
      ...(nbdTlsKeysPath === undefined ? {} : { keyByIdentity: readSharedKeys(nbdTlsKeysPath) }),
    };
  }

  async tlsShow(): Promise<TlsStatus> {
    const { nbdTls, nbdTlsClientCertificates, nbdTlsKeysPath } = this.#settings;
    const { authority, server } = await this.#ensure();
    return {
      mode: nbdTls,
      clientCertificates: nbdTlsClientCertificates,
      ...(nbdTlsKeysPath === undefined
        ? {}
        : { sharedKeys: Object.keys(readSharedKeys(nbdTlsKeysPath)) }),
      folder: this.#folder,
      authority: describe(authority),
      server: describe(server),
    };
  }

  /** A certificate that proves `name` to this appliance. Rejects with OperationError when the authority's key is not here. */
  async tlsClientCreate(name: string): Promise<TlsClient> {
    const { authority } = await this.#ensure();
    if (authority.keyPem === undefined) {
      const message = `${this.#folder} has no ca-key.pem: the authority is kept elsewhere`;
      throw new OperationError('conflict', message, 'have the certificate signed there');
    }
    const { makeClient } = await import('./tls-certificates.ts');
    const leaf = { name, nowMs: this.#clock.wallMs(), days: CERTIFICATE_DAYS };
    const { certificatePem, keyPem } = makeClient(authorityOf(authority), leaf);
    const certificate = new X509Certificate(certificatePem);
    return {
      name,
      authorityPem: authority.certificatePem,
      certificatePem,
      keyPem,
      fingerprint: certificate.fingerprint256,
      expiresMs: certificate.validToDate.getTime(),
    };
  }

  /** One at a time, so that two who ask first do not make two authorities. */
  async #ensure(): Promise<Certificates> {
    this.#ensuring ??= this.#ensureOnce().finally(() => {
      this.#ensuring = undefined;
    });
    return await this.#ensuring;
  }

  async #ensureOnce(): Promise<Certificates> {
    const authority = this.#readAuthority() ?? (await this.#makeAuthority());
    const server = this.#readServer(authority);
    const reason = this.#renewalReason(authority, server);
    if (server?.keyPem !== undefined && reason === undefined) {
      return { authority, server: { ...server, keyPem: server.keyPem } };
    }
    if (authority.keyPem === undefined) {
      const message = `${this.#folder} has an authority without its key, and no complete pair for the server`;
      throw new OperationError('invalid', message, 'put server-cert.pem and server-key.pem there');
    }
    return { authority, server: await this.#makeServer(authority, reason ?? 'its key is gone') };
  }

  /** Why the server needs another certificate; undefined when it does not, or when it is not ours to make. */
  #renewalReason(authority: Pair, server: Pair | undefined): string | undefined {
    if (server === undefined) return 'there was none';
    const { certificate } = server;
    const leftDays = (certificate.validToDate.getTime() - this.#clock.wallMs()) / dayMs;
    if (!isOurs(authority, server)) {
      if (leftDays < RENEW_BEFORE_DAYS) this.#warnOfExpiry(server, leftDays);
      return undefined;
    }
    if (leftDays < RENEW_BEFORE_DAYS) return `it expires in ${Math.floor(leftDays)} days`;
    const missing = this.#hosts().filter((host) => !isFor(certificate, host));
    return missing.length === 0 ? undefined : `it is not for ${missing.join(', ')}`;
  }

  #warnOfExpiry({ path }: Pair, leftDays: number): void {
    this.#log.warn(`${path} expires in ${Math.floor(leftDays)} days, and is not ours to renew`);
  }

  /** Every name and address that clients may use, those of the loopback first. */
  #hosts(): string[] {
    const { listenAddress } = this.#settings;
    const { host, addresses } = machineNames();
    const listening = allAddresses.has(listenAddress) ? addresses : [listenAddress];
    return [...new Set(['localhost', '127.0.0.1', '::1', host, ...listening])];
  }

  async #makeAuthority(): Promise<Pair> {
    const { makeAuthority } = await import('./tls-certificates.ts');
    const nowMs = this.#clock.wallMs();
    const name = `tidemark on ${machineNames().host}`.slice(0, 64);
    const made = makeAuthority({ name, nowMs, days: AUTHORITY_DAYS });
    return this.#keep('ca', made);
  }

  async #makeServer(authority: Pair, reason: string): Promise<Certificates['server']> {
    const { makeServer } = await import('./tls-certificates.ts');
    const leaf = { name: machineNames().host, nowMs: this.#clock.wallMs(), days: CERTIFICATE_DAYS };
    const made = makeServer(authorityOf(authority), leaf, this.#hosts());
    this.#log.info(`made a certificate for NBD over TLS: ${reason}`);
    return { ...this.#keep('server', made), keyPem: made.keyPem };
  }

  #readAuthority(): Pair | undefined {
    const pair = this.#read('ca');
    if (pair !== undefined) {
      if (isPair(pair)) return pair;
      throw new OperationError('invalid', `${pair.path} and its key are not a pair`);
    }
    // A start that was cut off may have left a key alone; where there is a server's certificate, clients know the authority.
    if (this.#read('server') === undefined) return undefined;
    const message = `${this.#folder} has a certificate of the server, but ca-cert.pem is gone`;
    throw new OperationError('invalid', message, 'put it back, or remove the folder');
  }

  #readServer(authority: Pair): Pair | undefined {
    const pair = this.#read('server');
    if (pair === undefined || isPair(pair)) return pair;
    // A renewal that was cut off; one of ours is simply made again.
    if (isOurs(authority, pair)) return undefined;
    throw new OperationError('invalid', `${pair.path} and its key are not a pair`);
  }

  #read(name: 'ca' | 'server'): Pair | undefined {
    const path = `${this.#folder}/${name}-cert.pem`;
    const certificatePem = readTextFile(path);
    if (certificatePem === undefined) return undefined;
    const keyPem = readTextFile(`${this.#folder}/${name}-key.pem`);
    try {
      return { path, certificatePem, certificate: new X509Certificate(certificatePem), keyPem };
    } catch (thrown) {
      throw new OperationError('invalid', `${path}: ${toError(thrown).message}`, undefined, thrown);
    }
  }

  /** The key first: a certificate without its key is taken for one whose key is kept elsewhere. */
  #keep(name: 'ca' | 'server', made: { certificatePem: string; keyPem: string }): Pair {
    const path = `${this.#folder}/${name}-cert.pem`;
    replacePrivateFile(`${this.#folder}/${name}-key.pem`, made.keyPem);
    replacePrivateFile(path, made.certificatePem);
    return { ...made, path, certificate: new X509Certificate(made.certificatePem) };
  }
}

/** Whether the key, where it is here, is the certificate's. Throws OperationError when it cannot be read. */
function isPair({ path, certificate, keyPem }: Pair): boolean {
  if (keyPem === undefined) return true;
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch (thrown) {
    const message = `the key of ${path}: ${toError(thrown).message}`;
    throw new OperationError('invalid', message, undefined, thrown);
  }
}

function isOurs(authority: Pair, server: Pair): boolean {
  return (
    authority.keyPem !== undefined && server.certificate.verify(authority.certificate.publicKey)
  );
}

function isFor(certificate: X509Certificate, host: string): boolean {
  const isAddress = /^[\d.]+$|:/.test(host);
  const found = isAddress ? certificate.checkIP(host) : certificate.checkHost(host);
  return found !== undefined;
}

function authorityOf({ certificate, keyPem, path }: Pair): Authority {
  const key = createPrivateKey(present(keyPem, 'key of the authority'));
  if (key.asymmetricKeyType === 'ec') return { certificate, key };
  const message = `the key of ${path} is ${key.asymmetricKeyType ?? 'unknown'}; only EC keys can sign here`;
  throw new OperationError('conflict', message, 'have the certificate signed elsewhere');
}

function describe({ path, certificate }: Pair): Certificate {
  const { subject, subjectAltName = '', fingerprint256 } = certificate;
  return {
    path,
    name: /^CN=(.*)$/m.exec(subject)?.[1] ?? subject,
    hosts: subjectAltName
      .split(', ')
      .filter((name) => name !== '')
      .map((name) => name.replace(/^(?:DNS|IP Address):/, '')),
    fingerprint: fingerprint256,
    expiresMs: certificate.validToDate.getTime(),
  };
}
