/** Reading and writing the superblock's four copies in their two files. */
import { type Disk, DiskError } from '../../base/ports.ts';
import { FormatError } from '../format/format-error.ts';
import {
  chooseSuperblock,
  decodeSuperblock,
  encodeSuperblock,
  type Superblock,
  superblockSizeBytes,
} from '../format/superblock.ts';

const fileNames = ['superblock-a', 'superblock-b'] as const;
const copiesPerFile = 2;

/** The superblock that counts. Throws FormatError when none does, DiskError ENOENT when there is no pool here. */
export function readSuperblock(disk: Disk): Superblock {
  const copies: (Uint8Array | undefined)[] = [];
  let missing = 0;
  for (const name of fileNames) {
    try {
      const file = disk.open(name, { create: false });
      for (let copy = 0; copy < copiesPerFile; copy += 1) copies.push(readCopy(file, copy));
      file.close();
    } catch (thrown) {
      if (!(thrown instanceof DiskError)) throw thrown;
      if (thrown.code !== 'ENOENT') throw thrown;
      missing += 1;
    }
  }
  if (missing === fileNames.length) throw new DiskError('ENOENT', 'no superblock');
  return chooseSuperblock(copies);
}

/** What is wrong with the copies, in words: all four must be there and say the same. Throws DiskError. */
export function superblockFaults(disk: Disk): string[] {
  const look = (): string[] => {
    const faults: string[] = [];
    const generations = new Set<number>();
    for (const name of fileNames) {
      readPair(disk, name).forEach((copy, index) => {
        const generation = generationOf(copy);
        if (generation === undefined) faults.push(`${name}: copy ${index + 1} is unreadable`);
        else generations.add(generation);
      });
    }
    if (generations.size > 1) faults.push('the copies of the superblock are not of one generation');
    return faults;
  };
  // It may be written just now: what is wrong is wrong twice.
  return look().length === 0 ? [] : look();
}

function readCopy(
  file: { read(target: Uint8Array, position: number): number },
  copy: number,
): Uint8Array | undefined {
  const bytes = new Uint8Array(superblockSizeBytes);
  try {
    const bytesRead = file.read(bytes, copy * superblockSizeBytes);
    return bytesRead === superblockSizeBytes ? bytes : undefined;
  } catch (thrown) {
    if (thrown instanceof DiskError) return undefined;
    throw thrown;
  }
}

/**
 * Writes the next generation: both copies of one file, flush, then of the other. Which file comes first alternates with the
 * generation, and the other is made to hold the generation before, durably, until then. So whatever crashes fall into
 * updates, one after another, one file holds two equal copies that are durable.
 * Durable when it returns. Throws DiskError.
 */
export function writeSuperblock(disk: Disk, superblock: Superblock): void {
  const copy = encodeSuperblock(superblock);
  const [first, second] =
    superblock.generation % 2 === 0 ? fileNames : ([fileNames[1], fileNames[0]] as const);
  shelterFormer(disk, second, superblock.generation - 1);
  writePair(disk, first, copy);
  writePair(disk, second, copy);
  disk.flushFolder('');
}

/**
 * Unless both files hold `generation` (then `name`, written first at the time, is durable), an update was cut short and
 * what looks whole may be in the page cache only: writes it to `name` again and flushes.
 */
function shelterFormer(disk: Disk, name: (typeof fileNames)[number], generation: number): void {
  const copies = fileNames.flatMap((file) => readPair(disk, file));
  const formers = copies.filter((copy) => generationOf(copy) === generation);
  const [former] = formers;
  if (former === undefined || formers.length === copies.length) return;
  writePair(disk, name, former);
}

function readPair(disk: Disk, name: string): (Uint8Array | undefined)[] {
  try {
    const file = disk.open(name, { create: false });
    const copies = Array.from({ length: copiesPerFile }, (_, copy) => readCopy(file, copy));
    file.close();
    return copies;
  } catch (thrown) {
    if (!(thrown instanceof DiskError)) throw thrown;
    return [undefined, undefined];
  }
}

/** Generation of a copy; undefined when it is none. */
function generationOf(copy: Uint8Array | undefined): number | undefined {
  try {
    return copy === undefined ? undefined : decodeSuperblock(copy).generation;
  } catch (thrown) {
    if (!(thrown instanceof FormatError)) throw thrown;
    return undefined;
  }
}

function writePair(disk: Disk, name: string, copy: Uint8Array): void {
  const file = disk.open(name, { create: true });
  try {
    file.write(Array<Uint8Array>(copiesPerFile).fill(copy), 0);
    file.flush();
  } finally {
    file.close();
  }
}
