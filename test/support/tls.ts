/** Certificates in a folder of the test's own. */
import { TlsControl } from '../../src/control/tls-control.ts';
import { VirtualTime } from './virtual-time.ts';

type TlsSettings = ConstructorParameters<typeof TlsControl>[0];

/** The TLS of an appliance whose data folder is `folder`; off unless told otherwise. */
export function tlsIn(
  folder: string,
  settings: Partial<TlsSettings> = {},
  lines: string[] = [],
): TlsControl {
  const line = (message: string): void => void lines.push(message);
  return new TlsControl(
    {
      dataDir: folder,
      listenAddress: '127.0.0.1',
      nbdTls: 'off',
      nbdTlsClientCertificates: 'off',
      nbdTlsKeysPath: undefined,
      ...settings,
    },
    new VirtualTime(),
    { info: line, warn: line, error: line },
  );
}
