/** The servers that are measured side by side: the peers here, tidemark in `tidemark-server.ts`. */
import fs from 'node:fs';
import path from 'node:path';
import { isAlive } from '../support/appliance.ts';
import { Background, run, until } from '../support/run.ts';
import { TestAuthority } from '../support/tls-identities.ts';

/** How far an acknowledged write has got: into memory, or through fdatasync. */
export type Acknowledges = 'cached' | 'durable';

/** A server while it runs. */
export interface RunningServer {
  readonly uri: string;
  /** Processes whose processor time is the server's. */
  readonly pids: readonly number[];
  /** Waits until background work that the last job caused is done. Peers have none that they tell of. */
  settle?(): Promise<void>;
  stop(): Promise<void>;
}

export interface ServerKind {
  readonly name: string;
  readonly acknowledges: Acknowledges;
  /** Absent: every transport. */
  readonly speaksTls?: false;
  /** Starts it over a device of the bench's size whose content is `source`'s. */
  start(place: BenchPlace): Promise<RunningServer>;
}

/** How clients come in; `tls` is TCP on loopback with certificates. */
export type Transport = 'unix' | 'tcp' | 'tls';

export interface BenchPlace {
  /** Folder on the file system that is measured; sockets and data lie in it. */
  readonly folder: string;
  /** Random bytes, as large as the device. */
  readonly source: string;
  readonly transport: Transport;
  /** A free TCP port, unless `unix`. */
  readonly port: number;
}

const startWithinMs = 15_000;
const stopWithinMs = 30_000;

async function serve(
  place: BenchPlace,
  program: string,
  args: readonly string[],
): Promise<RunningServer> {
  const socket = socketOf(place);
  const uri = uriOf(place, '');
  fs.rmSync(socket, { force: true });
  const server = new Background(program, args);
  try {
    await until(`${program} serves`, startWithinMs, async () => {
      if (!server.isRunning) throw new Error(`${program} ended: ${server.output}`);
      if (place.transport === 'unix') return fs.existsSync(socket);
      return await run('nbdinfo', ['--size', uri]).then(
        () => true,
        () => false,
      );
    });
  } catch (error) {
    await server.stop();
    throw error;
  }
  const stop = async (): Promise<void> => {
    await server.stop('SIGTERM', stopWithinMs);
    fs.rmSync(socket, { force: true });
  };
  return { uri, pids: [server.pid], stop };
}

function uriOf(place: BenchPlace, exportName: string): string {
  if (place.transport === 'unix') return `nbd+unix:///${exportName}?socket=${socketOf(place)}`;
  if (place.transport === 'tcp') return `nbd://127.0.0.1:${place.port}/${exportName}`;
  return tlsUri(place.port, exportName, tlsFolder(place));
}

/** `folder` holds the authority's certificate as ca-cert.pem. */
export function tlsUri(port: number, exportName: string, folder: string): string {
  return `nbds://localhost:${port}/${exportName}?tls-certificates=${folder}`;
}

/** A server's certificate and its authority, under the names that GnuTLS programs look for. */
function tlsFolder(place: BenchPlace): string {
  const folder = path.join(place.folder, 'peer-tls');
  if (fs.existsSync(folder)) return folder;
  fs.mkdirSync(folder);
  const authority = new TestAuthority('bench');
  const server = authority.server();
  fs.writeFileSync(path.join(folder, 'ca-cert.pem'), authority.pem);
  fs.writeFileSync(path.join(folder, 'server-cert.pem'), server.certificatePem);
  fs.writeFileSync(path.join(folder, 'server-key.pem'), server.keyPem);
  return folder;
}

function socketOf(place: BenchPlace): string {
  return path.join(place.folder, 'peer.sock');
}

/** The peers all serve one copy of the source; the jobs overwrite it, never grow it. */
async function rawFile(place: BenchPlace): Promise<string> {
  const file = path.join(place.folder, 'peer.raw');
  if (!fs.existsSync(file)) await run('cp', ['--sparse=never', place.source, file]);
  return file;
}

async function qcow2File(place: BenchPlace): Promise<string> {
  const file = path.join(place.folder, 'peer.qcow2');
  if (!fs.existsSync(file)) {
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', place.source, file]);
  }
  return file;
}

function nbdkit(name: string, acknowledges: Acknowledges, isForced: boolean): ServerKind {
  return {
    name,
    acknowledges,
    start: async (place) => {
      const address =
        place.transport === 'unix'
          ? ['-U', socketOf(place)]
          : ['--ipaddr', '127.0.0.1', '-p', String(place.port)];
      const tls =
        place.transport === 'tls'
          ? ['--tls=require', `--tls-certificates=${tlsFolder(place)}`]
          : [];
      const listen = [...address, ...tls];
      const filter = isForced ? ['--filter=fua'] : [];
      const mode = isForced ? ['fuamode=force'] : [];
      const file = await rawFile(place);
      return await serve(place, 'nbdkit', ['-f', ...listen, ...filter, 'file', file, ...mode]);
    },
  };
}

function qemuNbd(format: 'raw' | 'qcow2', cache: 'writeback' | 'writethrough'): ServerKind {
  return {
    name: `qemu-nbd ${format} ${cache}`,
    acknowledges: cache === 'writethrough' ? 'durable' : 'cached',
    start: async (place) => {
      const address =
        place.transport === 'unix'
          ? ['-k', socketOf(place)]
          : ['-b', '127.0.0.1', '-p', String(place.port)];
      const credentials = `tls-creds-x509,id=tls0,endpoint=server,verify-peer=off,dir=${tlsFolder(place)}`;
      const tls = place.transport === 'tls' ? ['--object', credentials, '--tls-creds', 'tls0'] : [];
      const listen = [...address, ...tls];
      const file = format === 'raw' ? await rawFile(place) : await qcow2File(place);
      const args = ['-t', '-e', '16', '-f', format, `--cache=${cache}`, ...listen, file];
      return await serve(place, 'qemu-nbd', args);
    },
  };
}

function nbdServer(
  name: string,
  acknowledges: Acknowledges,
  settings: readonly string[],
): ServerKind {
  return {
    name,
    acknowledges,
    speaksTls: false,
    start: async (place) => {
      const file = await rawFile(place);
      const configuration = path.join(place.folder, 'nbd-server.conf');
      const listen =
        place.transport === 'tcp'
          ? ['listenaddr = 127.0.0.1', `port = ${place.port}`]
          : [`unixsock = ${socketOf(place)}`, `port = ${place.port}`];
      const lines = ['[generic]', ...listen, 'allowlist = true', '[bench]', `exportname = ${file}`];
      fs.writeFileSync(configuration, `${[...lines, ...settings].join('\n')}\n`);
      return await serveDaemon(place, configuration);
    },
  };
}

/** nbd-server in the foreground serves one connection only, so it runs as the daemon it wants to be. */
async function serveDaemon(place: BenchPlace, configuration: string): Promise<RunningServer> {
  const pidFile = path.join(place.folder, 'nbd-server.pid');
  const socket = socketOf(place);
  fs.rmSync(pidFile, { force: true });
  fs.rmSync(socket, { force: true });
  await run('nbd-server', ['-C', configuration, '-p', pidFile]);
  await until('nbd-server serves', startWithinMs, () => fs.existsSync(pidFile));
  const pid = Number(fs.readFileSync(pidFile, 'utf8'));
  await until(
    'nbd-server listens',
    startWithinMs,
    () => place.transport !== 'unix' || fs.existsSync(socket),
  );
  return {
    uri: uriOf(place, 'bench'),
    pids: [pid],
    stop: async () => {
      process.kill(pid, 'SIGTERM');
      await until('nbd-server is gone', stopWithinMs, () => !isAlive(pid));
    },
  };
}

/** nbd-server is left out over TLS: it wants other names for the same files. */
export const peers: readonly ServerKind[] = [
  nbdkit('nbdkit file', 'cached', false),
  nbdkit('nbdkit file, forced FUA', 'durable', true),
  qemuNbd('raw', 'writeback'),
  qemuNbd('raw', 'writethrough'),
  qemuNbd('qcow2', 'writeback'),
  qemuNbd('qcow2', 'writethrough'),
  nbdServer('nbd-server flush fua', 'cached', ['flush = true', 'fua = true', 'trim = true']),
  nbdServer('nbd-server sync', 'durable', ['flush = true', 'fua = true', 'sync = true']),
];
