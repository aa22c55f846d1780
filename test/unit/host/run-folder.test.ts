import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ensurePrivateFile } from '../../../src/host/run-folder.ts';

it('a private file is made empty, or kept as it is; nobody else may read it afterwards', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-private-'));
  const made = path.join(folder, 'made');
  const kept = path.join(folder, 'kept');
  fs.writeFileSync(kept, 'text', { mode: 0o644 });
  for (const file of [made, kept]) {
    ensurePrivateFile(file);
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  }
  expect(fs.readFileSync(made, 'utf8') + fs.readFileSync(kept, 'utf8')).toBe('text');
  fs.rmSync(folder, { recursive: true });
});
