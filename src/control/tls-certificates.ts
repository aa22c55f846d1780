/**
 * X.509 certificates of a private authority (RFC 5280): the authority itself, servers, clients.
 *
 *     Certificate = SEQUENCE { tbs, ecdsa-with-SHA256, signature }
 *     tbs = SEQUENCE { version 3, serial, algorithm, issuer, validity, subject, public key, extensions }
 *
 * node-forge writes the ASN.1; keys and signatures are those of node:crypto, because forge signs with RSA only and P-256 makes
 * keys in no time and handshakes cheap. Reading is left to X509Certificate of node:crypto.
 */
import {
  generateKeyPairSync,
  hash,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import forge from 'node-forge';
import { assert } from '../base/assert.ts';

const { asn1 } = forge;
type Asn1 = forge.asn1.Asn1;
const { Class, Type } = asn1;

const oids = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Content of the KeyUsage bit string: how many bits at its end are not used, then the bits. */
const keyUsageBits = { digitalSignature: '\u0007\u0080', certificateAndCrlSign: '\u0001\u0006' };
/** Of the subject in tbs. */
const subjectIndex = 5;
const serialBytes = 16;
const dayMs = 86_400_000;
/** Clocks of clients may be behind. */
const backdateMs = dayMs;
/** From this year on times have four digits for it. */
const generalizedTimeYear = 2050;

/** A certificate with its private key, both PEM. */
export interface Identity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** An authority that can sign. */
export interface Authority {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

interface Leaf {
  readonly name: string;
  readonly nowMs: number;
  readonly days: number;
}

/** A new authority that signs itself, and may sign end certificates only. */
export function makeAuthority({ name, nowMs, days }: Leaf): Identity {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const keyId = keyIdOf(pair.publicKey);
  return certify(pair, {
    subject: nameOf(name),
    issuer: nameOf(name),
    signer: pair.privateKey,
    startMs: nowMs - backdateMs,
    endMs: nowMs + days * dayMs,
    extensions: [
      extension(oids.basicConstraints, sequence(boolean(true), integer('\0')), true),
      extension(oids.keyUsage, bits(keyUsageBits.certificateAndCrlSign), true),
      extension(oids.subjectKeyIdentifier, octets(keyId)),
    ],
  });
}

/** A certificate for a server that is reached by `hosts`: names and IP addresses. */
export function makeServer(authority: Authority, leaf: Leaf, hosts: readonly string[]): Identity {
  const names = hosts.map((host) => {
    const address = addressBytes(host);
    return address === undefined
      ? context(contextTag.dnsName, host)
      : context(contextTag.ipAddress, address);
  });
  const extensions = [extension(oids.subjectAltName, sequence(...names))];
  return makeLeaf(authority, leaf, [purpose(oids.serverAuth), ...extensions]);
}

/** A certificate that proves a client's name. */
export function makeClient(authority: Authority, leaf: Leaf): Identity {
  return makeLeaf(authority, leaf, [purpose(oids.clientAuth)]);
}

/** Context-specific tags, by the universal type that has the same number, because forge has no others. */
const contextTag = {
  version: Type.NONE,
  extensions: Type.BITSTRING,
  keyIdentifier: Type.NONE,
  dnsName: Type.INTEGER,
  ipAddress: Type.ODESC,
} as const;

function makeLeaf(authority: Authority, leaf: Leaf, extensions: readonly Asn1[]): Identity {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { certificate, key } = authority;
  const endMs = Math.min(leaf.nowMs + leaf.days * dayMs, certificate.validToDate.getTime());
  const signerId = context(contextTag.keyIdentifier, keyIdOf(certificate.publicKey));
  return certify(pair, {
    subject: nameOf(leaf.name),
    issuer: subjectOf(certificate),
    signer: key,
    startMs: leaf.nowMs - backdateMs,
    endMs,
    extensions: [
      extension(oids.basicConstraints, sequence(), true),
      extension(oids.keyUsage, bits(keyUsageBits.digitalSignature), true),
      ...extensions,
      extension(oids.subjectKeyIdentifier, octets(keyIdOf(pair.publicKey))),
      extension(oids.authorityKeyIdentifier, sequence(signerId)),
    ],
  });
}

interface Content {
  readonly subject: Asn1;
  readonly issuer: Asn1;
  readonly signer: KeyObject;
  readonly startMs: number;
  readonly endMs: number;
  readonly extensions: readonly Asn1[];
}

function certify(
  pair: { readonly publicKey: KeyObject; readonly privateKey: KeyObject },
  content: Content,
): Identity {
  const algorithm = sequence(oid(oids.ecdsaWithSha256));
  const extensions = sequence(...content.extensions);
  const tbs = sequence(
    context(contextTag.version, [integer('\u0002')]),
    integer(serial()),
    algorithm,
    content.issuer,
    sequence(time(content.startMs), time(content.endMs)),
    content.subject,
    fromDer(pair.publicKey.export({ type: 'spki', format: 'der' })),
    context(contextTag.extensions, [extensions]),
  );
  const signature = sign('sha256', toDer(tbs), content.signer);
  const certificate = sequence(tbs, algorithm, bits(`\0${signature.toString('latin1')}`));
  const body = toDer(certificate).toString('latin1');
  return {
    certificatePem: forge.pem.encode({ type: 'CERTIFICATE', body }).replaceAll('\r', ''),
    keyPem: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
}

/** A number that nobody can guess, positive. */
function serial(): string {
  const bytes = randomBytes(serialBytes);
  // The first bit is the sign, and the first byte must not be zero.
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('latin1');
}

/** RFC 7093, method 1: the first 160 bits of the digest of the public key. */
function keyIdOf(key: KeyObject): string {
  const der = key.export({ type: 'spki', format: 'der' });
  return hash('sha256', der, 'buffer').subarray(0, 20).toString('latin1');
}

// ---- ASN.1; text is one byte per character

function addressBytes(host: string): string | undefined {
  // The types of forge leave this function out.
  const util = forge.util as unknown as { bytesFromIP(text: string): string | null };
  return util.bytesFromIP(host) ?? undefined;
}

/** Exactly as it is written there: issuer and subject are compared byte by byte. */
function subjectOf(certificate: X509Certificate): Asn1 {
  const tbs = partOf(fromDer(certificate.raw), 0);
  return partOf(tbs, subjectIndex);
}

function partOf({ value }: Asn1, index: number): Asn1 {
  const part = typeof value === 'string' ? undefined : value[index];
  assert(part !== undefined, 'a certificate that was read has all its parts');
  return part;
}

function nameOf(commonName: string): Asn1 {
  const value = asn1.create(Class.UNIVERSAL, Type.UTF8, false, forge.util.encodeUtf8(commonName));
  const part = sequence(oid(oids.commonName), value);
  return sequence(asn1.create(Class.UNIVERSAL, Type.SET, true, [part]));
}

function purpose(id: string): Asn1 {
  return extension(oids.extKeyUsage, sequence(oid(id)));
}

function extension(id: string, value: Asn1, isCritical = false): Asn1 {
  const critical = isCritical ? [boolean(true)] : [];
  return sequence(oid(id), ...critical, octets(toDer(value).toString('latin1')));
}

function sequence(...parts: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts);
}

function context(tag: forge.asn1.Type, value: string | Asn1[]): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, typeof value !== 'string', value);
}

function oid(id: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes());
}

function integer(bytes: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, bytes);
}

function boolean(value: boolean): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, value ? '\u00ff' : '\0');
}

function octets(bytes: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes);
}

function bits(bytes: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, bytes);
}

function time(ms: number): Asn1 {
  const date = new Date(ms);
  return date.getUTCFullYear() < generalizedTimeYear
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

function toDer(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1');
}

function fromDer(der: Buffer): Asn1 {
  return asn1.fromDer(der.toString('latin1'));
}
