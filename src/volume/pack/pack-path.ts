/** Where packs lie in the pool's folder. */
export const packFolder = 'packs';
const namePattern = /^([0-9a-f]{8})\.pack$/;
/** What is being written: never read, removed when the pool is opened. */
const unfinishedSuffix = '.new';

/** No pack has a greater id: its name would not be found again. */
export const packIdLast = 0xffff_ffff;

export function packPath(packId: number): string {
  return `${packFolder}/${packId.toString(16).padStart(8, '0')}.pack`;
}

/** Where a pack is written before it gets its name. */
export function unfinishedPackPath(packId: number): string {
  return `${packPath(packId)}${unfinishedSuffix}`;
}

/** The id in a file name; undefined for other files. */
export function packIdOfName(name: string): number | undefined {
  const match = namePattern.exec(name);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}

export function isUnfinishedPack(name: string): boolean {
  return name.endsWith(`.pack${unfinishedSuffix}`);
}
