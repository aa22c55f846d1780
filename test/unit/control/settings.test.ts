import { describe, expect, it } from 'vitest';
import { OperationError } from '../../../src/base/errors.ts';
import { parseSettings, type Settings, settingsHelp } from '../../../src/control/settings.ts';

function parse(argv: string[], variables: Record<string, string> = {}): Settings {
  const settings = parseSettings(argv, variables, (path) =>
    path.startsWith('/') ? path : `/cwd/${path}`,
  );
  if (settings === 'help') throw new Error('help was asked for');
  return settings;
}

function refusal(argv: string[], variables: Record<string, string> = {}): OperationError {
  try {
    parse(argv, variables);
  } catch (thrown) {
    if (thrown instanceof OperationError) return thrown;
    throw thrown;
  }
  throw new Error('nothing was refused');
}

describe('settings of the daemon', () => {
  it('have the documented defaults', () => {
    expect(parse([])).toEqual({
      dataDir: '/cwd/var',
      listenAddress: '127.0.0.1',
      nbdPort: 10_809,
      nbdSocketPath: '/cwd/var/run/nbd.sock',
      nbdTls: 'off',
      nbdTlsClientCertificates: 'off',
      nbdTlsKeysPath: undefined,
      iscsiPort: 3260,
      httpsPort: 8443,
      poolSizeBytes: undefined,
    });
  });

  it('come from flags', () => {
    const argv =
      '--data /d --listen 0.0.0.0 --nbd-port 1 --nbd-socket s --nbd-tls required ' +
      '--nbd-tls-client-certificates required --nbd-tls-psk keys --iscsi-port 2 --https-port 3 --pool-size 1.5T';
    expect(parse(argv.split(' '))).toEqual({
      dataDir: '/d',
      listenAddress: '0.0.0.0',
      nbdPort: 1,
      nbdSocketPath: '/cwd/s',
      nbdTls: 'required',
      nbdTlsClientCertificates: 'required',
      nbdTlsKeysPath: '/cwd/keys',
      iscsiPort: 2,
      httpsPort: 3,
      poolSizeBytes: 1.5 * 1024 ** 4,
    });
  });

  it('come from environment variables of the same meaning, which flags override', () => {
    const variables = {
      TIDEMARK_DATA: '/e',
      TIDEMARK_LISTEN: '::1',
      TIDEMARK_NBD_PORT: '4',
      TIDEMARK_NBD_SOCKET: '/e/s',
      TIDEMARK_NBD_TLS: 'required',
      TIDEMARK_NBD_TLS_CLIENT_CERTIFICATES: 'required',
      TIDEMARK_NBD_TLS_PSK: '/e/keys',
      TIDEMARK_ISCSI_PORT: '5',
      TIDEMARK_HTTPS_PORT: '6',
      TIDEMARK_POOL_SIZE: '10G',
    };
    expect(parse(['--nbd-port', '7'], variables)).toEqual({
      dataDir: '/e',
      listenAddress: '::1',
      nbdPort: 7,
      nbdSocketPath: '/e/s',
      nbdTls: 'required',
      nbdTlsClientCertificates: 'required',
      nbdTlsKeysPath: '/e/keys',
      iscsiPort: 5,
      httpsPort: 6,
      poolSizeBytes: 10 * 1024 ** 3,
    });
  });

  it('turn iSCSI off by a word, and no other listener', () => {
    expect(parse(['--iscsi-port', 'off'], {})).toMatchObject({ iscsiPort: undefined });
    for (const flag of ['--nbd-port', '--https-port']) {
      expect(() => parse([flag, 'off'], {})).toThrow(`${flag}: off is not a port`);
    }
  });

  it('are each described by --help, with the variable', () => {
    expect(parseSettings(['--help'], {}, (path) => path)).toBe('help');
    for (const flag of [
      'data',
      'listen',
      'nbd-port',
      'nbd-socket',
      'nbd-tls',
      'nbd-tls-client-certificates',
      'nbd-tls-psk',
      'iscsi-port',
      'https-port',
      'pool-size',
    ]) {
      expect(settingsHelp()).toMatch(
        new RegExp(`--${flag} .*\\[TIDEMARK_${flag.toUpperCase().replaceAll('-', '_')}\\]`),
      );
    }
  });

  it.each(['-1', '65536', '80x', '1e3', ''])('refuse the port %j, naming the flag', (text) => {
    const error = refusal([`--nbd-port=${text}`]);
    expect(error.code).toBe('invalid');
    expect(error.message).toContain('--nbd-port');
    expect(error.hint).toContain('65535');
  });

  it('accept the ports 0 and 65535', () => {
    expect(parse(['--nbd-port', '0']).nbdPort).toBe(0);
    expect(parse(['--nbd-port', '65535']).nbdPort).toBe(65_535);
  });

  it.each([
    ['--nbd-tls-client-certificates', 'required'],
    ['--nbd-tls-psk', 'keys'],
  ])('refuse %s without TLS: it would protect nothing', (flag, value) => {
    const error = refusal([flag, value]);
    expect(error.message).toBe(`${flag} means nothing without TLS`);
    expect(error.hint).toContain('--nbd-tls required');
    expect(refusal([flag, value, '--nbd-tls', 'off']).message).toContain(flag);
  });

  it('refuse modes of TLS that do not exist', () => {
    expect(refusal(['--nbd-tls', 'on']).message).toBe('--nbd-tls: on is not off or required');
  });

  it('name the environment variable when that is at fault', () => {
    expect(refusal([], { TIDEMARK_POOL_SIZE: 'big' }).message).toContain('TIDEMARK_POOL_SIZE: big');
  });

  it('refuse flags that do not exist and words that are no flag', () => {
    expect(refusal(['--nbdport', '1']).message).toContain('--nbdport');
    expect(refusal(['serve']).message).toContain('serve');
  });
});
