/**
 * The rooms of `src/` and who may import whom, as data. `rooms.ts` reads it; `rooms.test.ts` enforces it.
 * docs/architecture.md draws the same picture for people.
 */

export interface Room {
  /** Other rooms whose top-level files this one may import. */
  readonly imports: readonly string[];
  /** npm packages this room may import. */
  readonly packages: readonly string[];
  /** Whether every `node:` module is allowed, or only the pure ones. */
  readonly usesNode: 'all' | 'pure';
  /** When present: the only top-level files that other rooms (main.ts aside) may import. */
  readonly door?: readonly string[];
  /** Rooms of `imports` from which only types may come. */
  readonly typesOnly?: readonly string[];
}

function room(imports: readonly string[], packages: readonly string[] = []): Room {
  return { imports, packages, usesNode: 'pure' };
}

const dataPlane = [
  'device',
  'volume',
  'scsi',
  'iscsi',
  'nbd',
  'quiesce',
  'replication',
  'cluster',
] as const;

export const roomTable: Readonly<Record<string, Room>> = {
  base: room([], ['@node-rs/crc32']),
  host: { imports: ['base'], packages: [], usesNode: 'all' },
  telemetry: room(['base'], ['pino', 'prom-client']),
  contract: room(['base'], ['typebox']),
  device: room(['base']),
  volume: room(['base', 'device'], ['better-sqlite3']),
  scsi: room(['base', 'device'], ['buffer-layout']),
  iscsi: room(['base', 'scsi']),
  nbd: room(['base', 'device']),
  quiesce: room(['base']),
  replication: room(['base', 'device', 'volume'], ['lz4-napi']),
  cluster: room(['base'], ['etcd3']),
  engine: {
    ...room(['base', ...dataPlane, 'host', 'telemetry']),
    door: ['client.ts', 'protocol.ts', 'rpc.ts'],
  },
  catalog: room(['base'], ['better-sqlite3']),
  control: room(
    ['base', 'contract', 'catalog', 'engine', 'quiesce', 'host', 'telemetry'],
    ['croner', 'node-forge'],
  ),
  api: room(['base', 'contract', 'control', 'telemetry'], ['fastify', '@fastify/swagger']),
  // base without the rest: the CLI reads and writes sizes as the daemon does, and base costs its start nothing.
  cli: {
    ...room(['base', 'contract', 'host'], ['commander', 'listr2', '@clack/prompts']),
    typesOnly: ['contract'],
  },
  web: room(['contract'], ['react', 'react-dom', '@mantine/core', 'uplot']),
  agent: room(['base', 'host', 'quiesce']),
};

/** Modules of Node that compute and touch nothing outside the process. */
export const pureNodeModules: ReadonlySet<string> = new Set([
  'node:assert',
  'node:buffer',
  'node:crypto',
  'node:events',
  'node:path',
  'node:string_decoder',
  'node:url',
  'node:util',
  'node:zlib',
]);

/** Entries of processes and threads: every `node:` module is allowed here. */
export const entryFiles: readonly RegExp[] = [
  /^main\.ts$/,
  /^engine\/(?:process|engine)\.ts$/,
  /^engine\/[a-z-]+-thread\.ts$/,
  /^cli\/main\.ts$/,
];
