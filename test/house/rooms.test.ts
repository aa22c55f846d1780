import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { importsOf } from './imports.ts';
import { roomTable } from './room-table.ts';
import { checkRooms, typeScriptFiles } from './rooms.ts';

const root = path.resolve(import.meta.dirname, '../..');

describe('the rooms of src', () => {
  it('import only what the room table allows', () => {
    const lines = checkRooms(root).map(
      (violation) => `${violation.file}:${violation.line} ${violation.rule}: ${violation.message}`,
    );
    expect(lines).toEqual([]);
  });

  it('are checked at all: the checker sees files and imports', () => {
    const files = typeScriptFiles(path.join(root, 'src'));
    expect(files.length).toBeGreaterThan(20);
    expect(files).toContain('device/block-device.ts');
  });

  it('form no cycle in the table itself', () => {
    const reaches = (from: string, to: string): boolean =>
      (roomTable[from]?.imports ?? []).some((next) => next === to || reaches(next, to));
    const circular = Object.keys(roomTable).filter((name) => reaches(name, name));
    expect(circular).toEqual([]);
  });
});

describe('importsOf', () => {
  it('finds every form of import and says which are types only', () => {
    const source = [
      "import a from './a.ts';",
      "import type { B } from './b.ts';",
      "import {\n  type C,\n  d,\n} from './cd.ts';",
      "export { e } from './e.ts';",
      "export type * from './f.ts';",
      "import './g.ts';",
      "const h = await import('./h.ts');",
      "new Worker(new URL('./i-thread.ts', import.meta.url));",
      "import * as j from 'node:net';",
    ].join('\n');
    const found = importsOf(source)
      .map((edge) => `${edge.specifier} ${edge.isTypeOnly}`)
      .sort();
    expect(found).toEqual([
      './a.ts false',
      './b.ts true',
      './cd.ts false',
      './e.ts false',
      './f.ts true',
      './g.ts false',
      './h.ts false',
      './i-thread.ts false',
      'node:net false',
    ]);
  });

  it('is not fooled by comments, strings and templates', () => {
    const source = [
      "// import a from './a.ts';",
      "/* import b from './b.ts'; */",
      'const c = "import d from \'./d.ts\'";',
      "const e = `import f from './f.ts'`;",
    ].join('\n');
    expect(importsOf(source)).toEqual([]);
  });
});
