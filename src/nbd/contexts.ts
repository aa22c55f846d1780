/** Which metadata contexts an export has, and which of them a client means, NBD protocol "Metadata querying". */
import type { NbdOpenExport } from './exports.ts';
import {
  allocationContext,
  allocationContextId,
  dirtyBitmapContextId,
  dirtyBitmapPrefix,
} from './wire/meta-context.ts';

interface Context {
  readonly id: number;
  readonly name: string;
}

/** At most one dirty bitmap: backup tools give up on two. */
export function contextsOf({ dirtyBitmap }: NbdOpenExport): Context[] {
  const allocation = { id: allocationContextId, name: allocationContext };
  if (dirtyBitmap === undefined) return [allocation];
  return [
    allocation,
    { id: dirtyBitmapContextId, name: `${dirtyBitmapPrefix}${dirtyBitmap.name}` },
  ];
}

/** SET names exactly what it wants. */
export function isNamed(name: string, queries: readonly string[]): boolean {
  return queries.includes(name);
}

/** LIST finds all contexts of a namespace, too, and without a query all that there are. */
export function isListed(name: string, queries: readonly string[]): boolean {
  const isWhole = (query: string): boolean => namespaces.has(query) && name.startsWith(query);
  return queries.length === 0 || isNamed(name, queries) || queries.some(isWhole);
}

const namespaces: ReadonlySet<string> = new Set(['base:', 'qemu:', dirtyBitmapPrefix]);
