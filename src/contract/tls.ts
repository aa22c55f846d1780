/** Certificates of NBD over TLS: what there is, and new ones for clients. */
import { type Static, Type } from 'typebox';
import { TimeMs } from './common.ts';

const Certificate = Type.Object({
  /** Absolute path of the PEM file. */
  path: Type.String(),
  /** Common name. */
  name: Type.String(),
  /** Names and addresses that clients may know the server by; empty for an authority. */
  hosts: Type.Array(Type.String()),
  /** SHA-256 of the certificate, as openssl prints it. */
  fingerprint: Type.String(),
  expiresMs: TimeMs,
});
export type Certificate = Static<typeof Certificate>;

export const TlsStatus = Type.Object({
  mode: Type.Union([Type.Literal('off'), Type.Literal('required')]),
  clientCertificates: Type.Union([Type.Literal('off'), Type.Literal('required')]),
  /** Names of the shared keys; absent when none are used. */
  sharedKeys: Type.Optional(Type.Array(Type.String())),
  /** Absolute path of the folder with the certificates. */
  folder: Type.String(),
  authority: Certificate,
  server: Certificate,
});
export type TlsStatus = Static<typeof TlsStatus>;

/** A name that becomes the subject of a certificate, 64 characters at most (RFC 5280, ub-common-name). */
export const TlsClientCreate = Type.Object(
  { name: Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$', maxLength: 64 }) },
  { additionalProperties: false },
);
export type TlsClientCreate = Static<typeof TlsClientCreate>;

/** The private key is in this answer and nowhere else: the appliance keeps no copy. */
export const TlsClient = Type.Object({
  name: Type.String(),
  authorityPem: Type.String(),
  certificatePem: Type.String(),
  keyPem: Type.String(),
  fingerprint: Type.String(),
  expiresMs: TimeMs,
});
export type TlsClient = Static<typeof TlsClient>;
