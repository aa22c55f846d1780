/** Where index runs lie in the pool's folder. */
import { hexIdAt } from '../log/segment-path.ts';
import { isThinned, type RunPlace } from './run-format.ts';

export const runFolder = 'runs';
const namePattern = /^([1-9])-([0-9a-f]{8})(?:\.([1-9][0-9]{0,7}))?\.run$/;
const plainLength = '1-01234567.run'.length;
const zero = 0x30;
/** What is being written: never read, removed when the pool is opened. */
const unfinishedSuffix = '.new';

export function runName(place: RunPlace): string {
  return isThinned(place) ? `${stemOf(place)}.${place.generation}.run` : `${stemOf(place)}.run`;
}

/** What the names of all files of one place begin with. */
export function stemOf({ level, firstSegId }: RunPlace): string {
  return `${level}-${firstSegId.toString(16).padStart(8, '0')}`;
}

export function runPath(place: RunPlace): string {
  return `${runFolder}/${runName(place)}`;
}

/** Where a run is written before it gets its name. */
export function unfinishedRunPath(place: RunPlace): string {
  return `${runPath(place)}${unfinishedSuffix}`;
}

/** Undefined when the file is no run. Asked for each of tens of thousands of names, most of them of runs that were not thinned. */
export function runPlaceOf(name: string): RunPlace | undefined {
  return plainPlaceOf(name) ?? anyPlaceOf(name);
}

/** 30 ns; a pattern takes 400. */
function plainPlaceOf(name: string): RunPlace | undefined {
  if (name.length !== plainLength || name[1] !== '-' || !name.endsWith('.run')) return undefined;
  const level = name.charCodeAt(0) - zero;
  const firstSegId = hexIdAt(name, 2);
  return firstSegId === undefined || level < 1 || level > 9 ? undefined : { level, firstSegId };
}

function anyPlaceOf(name: string): RunPlace | undefined {
  const parts = namePattern.exec(name);
  if (parts === null) return undefined;
  const place = { level: Number(parts[1]), firstSegId: Number.parseInt(parts[2] ?? '', 16) };
  return parts[3] === undefined ? place : { ...place, generation: Number(parts[3]) };
}

export function isUnfinishedRun(name: string): boolean {
  return name.endsWith(`.run${unfinishedSuffix}`);
}
