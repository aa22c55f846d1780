import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { stages } from './stages.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** Files of the repository with an ending, relative to its root; build results and the canary aside. */
function filesEnding(ending: string): string[] {
  return fs
    .globSync(`**/*${ending}`, {
      cwd: root,
      exclude: (name) =>
        ['node_modules', 'canary', 'out', 'var', '.git'].includes(path.basename(name)),
    })
    .sort();
}

describe('the test command', () => {
  it('runs every test file: each lies in the folder of exactly one stage', () => {
    const folders = stages
      .filter((stage) => stage.kind === 'suite')
      .flatMap((stage) => stage.args.slice(3));
    const strays = filesEnding('.test.ts').filter(
      (file) => folders.filter((folder) => file.startsWith(folder)).length !== 1,
    );
    expect(strays).toEqual([]);
    expect(folders.filter((folder) => !fs.existsSync(path.join(root, folder)))).toEqual([]);
  });

  it.each(filesEnding('.md'))('%s names only npm scripts that exist', (document) => {
    const text = fs.readFileSync(path.join(root, document), 'utf8');
    // package.json is ours; its scripts are strings by name.
    const { scripts } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const named = [...text.matchAll(/npm run (?:-s |--silent )?([\w:-]+)/g)].map(
      ([, name]) => name ?? '',
    );
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});
