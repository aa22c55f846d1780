/** Trees of files for file-system tests: written by a seed, summed up as lines that can be compared. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const largestFileBytes = 1 << 20;

/** Writes `count` files of random content in nested folders under `root`, each of them fsynced, and a link to each tenth. */
export function writeTree(root: string, count: number): void {
  for (let index = 0; index < count; index += 1) {
    const folder = path.join(root, `d${index % 7}`, `e${index % 3}`);
    fs.mkdirSync(folder, { recursive: true });
    const file = path.join(folder, `f${index}`);
    const descriptor = fs.openSync(file, 'w');
    fs.writeSync(descriptor, crypto.randomBytes(crypto.randomInt(1, largestFileBytes)));
    fs.fsyncSync(descriptor);
    fs.closeSync(descriptor);
    if (index % 10 === 0) fs.symlinkSync(`f${index}`, `${file}.link`);
  }
}

/** One line per entry below `root`: its path, and a digest of its bytes or where it points. Sorted. */
export function treeSummary(root: string): string[] {
  return fs
    .readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name !== 'lost+found')
    .map((entry) => {
      const full = path.join(entry.parentPath, entry.name);
      const name = path.relative(root, full);
      if (entry.isSymbolicLink()) return `${name} -> ${fs.readlinkSync(full)}`;
      if (entry.isDirectory()) return `${name}/`;
      return `${name} ${crypto.createHash('sha256').update(fs.readFileSync(full)).digest('hex')}`;
    })
    .sort();
}
