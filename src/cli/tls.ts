/** tidemark tls ... */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { OperationError } from '../base/errors.ts';
import type { Certificate, TlsClient, TlsStatus } from '../contract/tls.ts';
import { makePrivateFolder } from '../host/tls-files.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode } from './failure.ts';
import { facts, formatDate } from './format.ts';

export function addTlsCommands(program: Command, session: () => Session): void {
  const tls = program.command('tls').description('certificates of NBD over TLS');
  tls
    .command('show')
    .description('the certificates of the appliance, and what clients need')
    .action(async () => {
      const current = session();
      const status = await current.send<TlsStatus>('GET', '/v1/tls');
      current.show(status, statusText);
    });
  tls
    .command('client <name>')
    .description('make a certificate for a client, in a folder as NBD clients expect it')
    .option('--out <dir>', 'folder to make (default: NAME in the current folder)')
    .action(async (name: string, options: { out?: string }) => {
      await tlsClient(session(), name, resolve(options.out ?? name));
    });
}

/** The private key goes into the folder only: it is neither printed nor kept. */
async function tlsClient(session: Session, name: string, folder: string): Promise<void> {
  const client = await session.send<TlsClient>('POST', '/v1/tls/clients', { name });
  try {
    makePrivateFolder(folder, {
      'ca-cert.pem': client.authorityPem,
      'client-cert.pem': client.certificatePem,
      'client-key.pem': client.keyPem,
    });
  } catch (thrown) {
    if (!(thrown instanceof OperationError)) throw thrown;
    const { code, message, hint } = thrown;
    const error = hint === undefined ? { code, message } : { code, message, hint };
    throw new CommandFailure(ExitCode.failed, error);
  }
  const { fingerprint, expiresMs } = client;
  const made = { name, folder, fingerprint, expiresMs };
  session.show(
    made,
    () =>
      `made ${folder} with ca-cert.pem, client-cert.pem and client-key.pem; expires ${formatDate(expiresMs)}\n` +
      `copy it to the client over a safe way: who has client-key.pem is ${name}`,
  );
}

function statusText(status: TlsStatus): string {
  const { authority, server, clientCertificates, sharedKeys } = status;
  const pairs: [string, string][] = [
    ['NBD over TCP', status.mode === 'required' ? 'TLS is required' : 'in the clear'],
    ['client certificates', clientCertificates],
  ];
  if (sharedKeys !== undefined) pairs.push(['shared keys', sharedKeys.join(', ')]);
  pairs.push(...certificatePairs('authority', authority), ...certificatePairs('server', server));
  pairs.push(['server is', server.hosts.join(', ')]);
  return facts(pairs);
}

function certificatePairs(role: string, certificate: Certificate): [string, string][] {
  return [
    [role, certificate.path],
    ['', `${certificate.name}, until ${formatDate(certificate.expiresMs)}`],
    ['', `SHA-256 ${certificate.fingerprint}`],
  ];
}
