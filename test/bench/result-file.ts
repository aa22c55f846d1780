/** Keeps what a benchmark found as JSON beside it, in a folder that git ignores. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** Writes one result and returns the file's path. */
export function writeResult(bench: string, result: Readonly<Record<string, unknown>>): string {
  const folder = path.join(import.meta.dirname, 'out');
  fs.mkdirSync(folder, { recursive: true });
  const time = new Date().toISOString().replaceAll(':', '');
  const file = path.join(folder, `${bench}-${time}.json`);
  const machine = { cpus: os.cpus().map((cpu) => cpu.model), kernel: os.release() };
  fs.writeFileSync(file, `${JSON.stringify({ bench, machine, ...result }, undefined, 2)}\n`);
  return file;
}
