/** What the operator may choose when the daemon starts: flags, or environment variables of the same meaning. */
import { parseArgs } from 'node:util';
import { OperationError, toError } from '../base/errors.ts';
import { parseSize } from '../base/units.ts';

export type TlsMode = 'off' | 'required';

export interface Settings {
  /** Absolute path of DIR. */
  readonly dataDir: string;
  /** Address that TCP listeners bind. */
  readonly listenAddress: string;
  readonly nbdPort: number;
  /** Absolute path of the NBD unix socket. */
  readonly nbdSocketPath: string;
  /** Whether clients of the TCP listener must use TLS. */
  readonly nbdTls: TlsMode;
  /** Whether clients over TLS must show a certificate. */
  readonly nbdTlsClientCertificates: TlsMode;
  /** Absolute path of a file of shared keys. */
  readonly nbdTlsKeysPath: string | undefined;
  /** Port of the iSCSI portal on `listenAddress`; undefined = no iSCSI. */
  readonly iscsiPort: number | undefined;
  /** Reserved for the web console and the remote API. */
  readonly httpsPort: number;
  /** Capacity of a pool that is made now; undefined = the engine's default. */
  readonly poolSizeBytes: number | undefined;
}

interface SettingRow {
  readonly flag: string;
  readonly variable: string;
  readonly value: string;
  readonly help: string;
}

const rows = [
  { flag: 'data', variable: 'TIDEMARK_DATA', value: 'DIR', help: 'data folder (default ./var)' },
  {
    flag: 'listen',
    variable: 'TIDEMARK_LISTEN',
    value: 'ADDR',
    help: 'address of the TCP listeners (default 127.0.0.1)',
  },
  {
    flag: 'nbd-port',
    variable: 'TIDEMARK_NBD_PORT',
    value: 'N',
    help: 'NBD port (default 10809; 0 picks a free one)',
  },
  {
    flag: 'nbd-socket',
    variable: 'TIDEMARK_NBD_SOCKET',
    value: 'PATH',
    help: 'NBD unix socket (default DIR/run/nbd.sock)',
  },
  {
    flag: 'nbd-tls',
    variable: 'TIDEMARK_NBD_TLS',
    value: 'MODE',
    help: 'TLS on the NBD port: off or required (default off)',
  },
  {
    flag: 'nbd-tls-client-certificates',
    variable: 'TIDEMARK_NBD_TLS_CLIENT_CERTIFICATES',
    value: 'MODE',
    help: 'whether clients must show a certificate: off or required (default off)',
  },
  {
    flag: 'nbd-tls-psk',
    variable: 'TIDEMARK_NBD_TLS_PSK',
    value: 'FILE',
    help: 'clients must have one of these keys: lines of identity:hexkey',
  },
  {
    flag: 'iscsi-port',
    variable: 'TIDEMARK_ISCSI_PORT',
    value: 'N',
    help: 'iSCSI port (default 3260; 0 picks a free one; off = no iSCSI)',
  },
  {
    flag: 'https-port',
    variable: 'TIDEMARK_HTTPS_PORT',
    value: 'N',
    help: 'reserved for the web console and the remote API (default 8443)',
  },
  {
    flag: 'pool-size',
    variable: 'TIDEMARK_POOL_SIZE',
    value: 'SIZE',
    help: 'capacity of a new pool, such as 100G = 100 GiB (default 90 % of the free space)',
  },
] as const satisfies readonly SettingRow[];

type SettingFlag = (typeof rows)[number]['flag'];

/** Text for `--help`: every flag with its environment variable. */
export function settingsHelp(): string {
  const uses = rows.map((row) => `--${row.flag} ${row.value}`);
  const width = Math.max(...uses.map((use) => use.length));
  const lines = rows.map(
    (row, index) => `  ${(uses[index] ?? '').padEnd(width)} ${row.help} [${row.variable}]`,
  );
  return `usage: npm start -- [options]\n\n${lines.join('\n')}\n  ${'--help'.padEnd(width)} show this\n`;
}

/**
 * Reads flags, then environment variables, then defaults. `resolvePath` makes a path absolute. Returns 'help' when that
 * was asked for. Throws OperationError `invalid` naming the flag or variable at fault.
 */
export function parseSettings(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  resolvePath: (path: string) => string,
): Settings | 'help' {
  const given = parseFlags(argv);
  if (given === 'help') return 'help';
  const text: Texts = (flag) => {
    const flagValue = given[flag];
    if (flagValue !== undefined) return { origin: `--${flag}`, text: flagValue };
    const variable = variableByFlag(flag);
    const value = environment[variable];
    return value === undefined || value === '' ? undefined : { origin: variable, text: value };
  };
  const dataDir = resolvePath(text('data')?.text ?? 'var');
  const poolSize = text('pool-size');
  return {
    dataDir,
    listenAddress: text('listen')?.text ?? '127.0.0.1',
    nbdPort: port(text('nbd-port'), 10_809),
    nbdSocketPath: resolvePath(text('nbd-socket')?.text ?? `${dataDir}/run/nbd.sock`),
    ...tlsSettings(text, resolvePath),
    iscsiPort: portOrOff(text('iscsi-port'), 3260),
    httpsPort: port(text('https-port'), 8443),
    poolSizeBytes: poolSize === undefined ? undefined : size(poolSize),
  };
}

type Texts = (flag: SettingFlag) => Given | undefined;

interface Given {
  /** The flag or variable it came from, for messages. */
  readonly origin: string;
  readonly text: string;
}

function tlsSettings(
  text: Texts,
  resolvePath: (path: string) => string,
): Pick<Settings, 'nbdTls' | 'nbdTlsClientCertificates' | 'nbdTlsKeysPath'> {
  const nbdTls = mode(text('nbd-tls'));
  const clientCertificates = text('nbd-tls-client-certificates');
  const keys = text('nbd-tls-psk');
  const nbdTlsClientCertificates = mode(clientCertificates);
  const needsTls = nbdTlsClientCertificates === 'required' ? clientCertificates : keys;
  if (nbdTls === 'off' && needsTls !== undefined) {
    const message = `${needsTls.origin} means nothing without TLS`;
    throw new OperationError('invalid', message, 'add --nbd-tls required');
  }
  const nbdTlsKeysPath = keys === undefined ? undefined : resolvePath(keys.text);
  return { nbdTls, nbdTlsClientCertificates, nbdTlsKeysPath };
}

function mode(given: Given | undefined): TlsMode {
  const value = given?.text ?? 'off';
  if (value === 'off' || value === 'required') return value;
  throw new OperationError('invalid', `${given?.origin ?? ''}: ${value} is not off or required`);
}

function parseFlags(
  argv: readonly string[],
): 'help' | Readonly<Record<string, string | undefined>> {
  const options: Record<string, { type: 'string' | 'boolean' }> = { help: { type: 'boolean' } };
  for (const row of rows) options[row.flag] = { type: 'string' };
  try {
    const { values } = parseArgs({ args: [...argv], options, strict: true });
    if (values['help'] === true) return 'help';
    const given: Record<string, string> = {};
    for (const [flag, value] of Object.entries(values)) {
      if (typeof value === 'string') given[flag] = value;
    }
    return given;
  } catch (thrown) {
    const reason = toError(thrown).message.split('\n')[0] ?? '';
    throw new OperationError('invalid', reason, 'npm start -- --help shows the options');
  }
}

function variableByFlag(flag: SettingFlag): string {
  return rows.find((row) => row.flag === flag)?.variable ?? '';
}

function portOrOff(given: Given | undefined, byDefault: number): number | undefined {
  return given?.text === 'off' ? undefined : port(given, byDefault);
}

function port(given: Given | undefined, byDefault: number): number {
  if (given === undefined) return byDefault;
  const value = Number(given.text);
  if (/^\d+$/.test(given.text) && value <= 65_535) return value;
  throw new OperationError(
    'invalid',
    `${given.origin}: ${given.text} is not a port`,
    'ports are numbers from 0 to 65535',
  );
}

function size(given: Given): number {
  const value = parseSize(given.text);
  if (value !== undefined && value > 0) return value;
  throw new OperationError(
    'invalid',
    `${given.origin}: ${given.text} is not a size`,
    'write bytes, or a number with K, M, G or T, such as 100G (= 100 GiB)',
  );
}
