/**
 * The layering check: every import of every file under `src/` against the room table.
 *
 *     src/nbd/wire/reply.ts ──import──▶ ../../volume/pool.ts      room        nbd may not import volume
 *                           ──import──▶ node:net                  node-module only host may
 *                           ──import──▶ ../../device/x/y.ts       deep-import subfolders are private
 *
 * Type-only imports count. Cycles are left to the linter (import/no-cycle).
 */
import fs from 'node:fs';
import path from 'node:path';
import { type ImportEdge, importsOf } from './imports.ts';
import { entryFiles, pureNodeModules, type Room, roomTable } from './room-table.ts';

export type RoomRule =
  | 'deep-import'
  | 'door'
  | 'node-module'
  | 'outside'
  | 'package'
  | 'room'
  | 'types-only'
  | 'unknown-room';

export interface Violation {
  /** Relative to the project, with `/`. */
  readonly file: string;
  readonly line: number;
  readonly rule: RoomRule;
  readonly message: string;
}

interface SourceFile {
  /** Relative to `src`. */
  readonly name: string;
  readonly edges: readonly ImportEdge[];
}

type Report = (rule: RoomRule, message: string) => void;

/** TypeScript files below a folder, relative to it, sorted. */
export function typeScriptFiles(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .map((name) => name.split(path.sep).join('/'))
    .sort();
}

function roomNameOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

function isEntry(file: string): boolean {
  return entryFiles.some((pattern) => pattern.test(file));
}

function packageNameOf(specifier: string): string {
  const parts = specifier.split('/');
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '');
}

function checkOutside(
  file: string,
  room: Room | undefined,
  edge: ImportEdge,
  report: Report,
): void {
  if (room === undefined) return;
  const { specifier } = edge;
  if (specifier.startsWith('node:')) {
    const isAllowed = room.usesNode === 'all' || pureNodeModules.has(specifier) || isEntry(file);
    if (!isAllowed) report('node-module', `${specifier} is for host and process entries only`);
    return;
  }
  const name = packageNameOf(specifier);
  if (!room.packages.includes(name)) report('package', `${name} is not on this room's list`);
}

/** `target` is relative to `src`. Rules for an edge from one room into another. */
function checkAcross(file: string, target: string, edge: ImportEdge, report: Report): void {
  const from = roomNameOf(file);
  const to = roomNameOf(target);
  const rest = target.slice(to.length + 1);
  if (rest.includes('/')) report('deep-import', `${to}/'s subfolders are private: ${target}`);
  const room = roomTable[from];
  if (room === undefined) return;
  if (!room.imports.includes(to)) report('room', `${from} may not import ${to} (${target})`);
  const door = roomTable[to]?.door;
  if (door !== undefined && !door.includes(rest)) {
    report('door', `${to} is entered through ${door.join(', ')} only, not ${rest}`);
  }
  if (room.typesOnly?.includes(to) === true && !edge.isTypeOnly) {
    report('types-only', `${from} may import only types from ${to}`);
  }
}

function targetOf(file: string, specifier: string): string {
  return path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier));
}

function checkEdge(file: string, edge: ImportEdge, report: Report): void {
  const from = roomNameOf(file);
  if (!edge.specifier.startsWith('.')) {
    checkOutside(file, roomTable[from], edge, report);
    return;
  }
  const target = targetOf(file, edge.specifier);
  if (target.startsWith('../')) {
    report('outside', `${edge.specifier} leaves src`);
    return;
  }
  // main.ts builds every room, so it may enter every room, but not its subfolders.
  if (from !== roomNameOf(target)) checkAcross(file, target, edge, report);
}

/** Checks the project at `root`; returns every violation, sorted by file. */
export function checkRooms(root: string): Violation[] {
  const source = path.join(root, 'src');
  const files: SourceFile[] = typeScriptFiles(source).map((name) => ({
    name,
    edges: importsOf(fs.readFileSync(path.join(source, name), 'utf8')),
  }));
  const violations: Violation[] = [];
  for (const file of files) {
    const add = (line: number, rule: RoomRule, message: string): void => {
      violations.push({ file: `src/${file.name}`, line, rule, message });
    };
    const room = roomNameOf(file.name);
    if (room !== '' && roomTable[room] === undefined) {
      add(1, 'unknown-room', `${room} is not in the room table`);
    }
    for (const edge of file.edges) {
      checkEdge(file.name, edge, (rule, message) => {
        add(edge.line, rule, message);
      });
    }
  }
  return violations.sort((left, right) => left.file.localeCompare(right.file));
}
