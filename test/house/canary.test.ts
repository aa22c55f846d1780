/**
 * The checks are checked: `canary/` is a small project with one violation per rule, marked where it stands by
 * `// expect TOOL: RULE`. Each tool runs over it with the repository's own settings and must report exactly those.
 * A tool that quietly looks at nothing, or a rule that was switched off, fails here.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkRooms } from './rooms.ts';

const root = path.resolve(import.meta.dirname, '../..');
const canary = path.join(import.meta.dirname, 'canary');

/** Lines "file rule" that the canary's files announce for one tool, sorted. */
function expected(tool: string): string[] {
  const lines: string[] = [];
  const entries = fs.readdirSync(canary, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((each) => each.isFile() && each.name.endsWith('.ts'))) {
    const full = path.join(entry.parentPath, entry.name);
    const marks = fs.readFileSync(full, 'utf8').matchAll(/^\/\/ expect (\S+): (.+)$/gm);
    for (const [, name, rule] of marks) {
      if (name === tool) lines.push(`${path.relative(canary, full)} ${rule}`);
    }
  }
  return lines.sort();
}

function run(tool: string, args: readonly string[]): string {
  const result = spawnSync(process.execPath, [binary(tool), ...args], {
    cwd: canary,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  expect(result.status, `${tool} must fail on the canary: ${result.stderr}`).not.toBe(0);
  return result.stdout;
}

/** The script behind node_modules/.bin, so that this same Node runs it. */
function binary(tool: string): string {
  return fs.realpathSync(path.join(root, 'node_modules/.bin', tool));
}

function unique(lines: readonly string[]): string[] {
  return [...new Set(lines)].sort();
}

interface OxlintOutput {
  readonly diagnostics: readonly {
    readonly code?: string;
    readonly message: string;
    readonly filename: string;
  }[];
}

interface BiomeOutput {
  readonly diagnostics: readonly {
    readonly category: string;
    readonly location: { readonly path: string };
  }[];
}

interface KnipOutput {
  readonly issues: readonly ({ readonly file: string } & Readonly<Record<string, unknown>>)[];
}

/** Lines "file kind" of a knip report. */
function knipLines(report: KnipOutput): string[] {
  return report.issues.flatMap((issue) =>
    Object.entries(issue)
      .filter(([, found]) => Array.isArray(found) && found.length > 0)
      .map(([kind]) => `${issue.file} ${kind}`),
  );
}

describe('the canary', () => {
  it('is reported by oxlint, rule by rule', () => {
    // The shape of oxlint's JSON report.
    const output = JSON.parse(
      run('oxlint', ['-c', 'oxlint.json', '-f', 'json', '.']),
    ) as OxlintOutput;
    const reported = output.diagnostics.map((each) => {
      const rule = each.message.startsWith('Unused oxlint-disable')
        ? 'unused-directive'
        : each.code;
      return `${each.filename} ${rule}`;
    });
    expect(unique(reported)).toEqual(expected('oxlint'));
  });

  it('has a violation of every rule that the lint settings name', () => {
    const settings = fs.readFileSync(path.join(root, '.oxlintrc.json'), 'utf8');
    const named = [...settings.matchAll(/"(\w+)\/([\w-]+)": (?:"error"|\[\s*"error")/g)];
    const rules = named.map(([, plugin, rule]) => `${plugin}(${rule})`);
    expect(rules.length).toBeGreaterThan(30);
    const covered = expected('oxlint').map((line) => line.slice(line.indexOf(' ') + 1));
    expect(rules.filter((rule) => !covered.includes(rule))).toEqual([]);
  });

  it('is reported by the type checker', () => {
    const reported = [
      ...run('tsc', ['-p', '.', '--pretty', 'false']).matchAll(/^(\S+?)\(.*?error (TS\d+)/gm),
    ];
    expect(unique(reported.map(([, file, code]) => `${file} ${code}`))).toEqual(expected('tsc'));
  });

  it('is reported by biome', () => {
    // The shape of biome's JSON report.
    const output = JSON.parse(run('biome', ['check', '.', '--reporter=json'])) as BiomeOutput;
    const reported = output.diagnostics.map((each) => `${each.location.path} ${each.category}`);
    expect(unique(reported)).toEqual(expected('biome'));
  });

  it('is reported by knip: dead files, exports and types, unlisted and unused packages', () => {
    const args = ['-c', '../knip.json', '--no-progress', '--reporter', 'json'];
    // The shape of knip's JSON report.
    const reported = knipLines(JSON.parse(run('knip', args)) as KnipOutput);
    for (const line of expected('knip')) expect(reported).toContain(line);
    expect(reported).toContain('package.json dependencies');
  });

  it('is reported by knip for exports that only a test uses', () => {
    const args = ['-c', '../knip.json', '--no-progress', '--production', '--include', 'exports'];
    // The shape of knip's JSON report.
    const reported = knipLines(
      JSON.parse(run('knip', [...args, '--reporter', 'json'])) as KnipOutput,
    );
    for (const line of expected('knip-production')) expect(reported).toContain(line);
  });

  it('is reported by the layering check', () => {
    const reported = checkRooms(canary).map((each) => `${each.file} ${each.rule}`);
    expect(unique(reported)).toEqual(expected('rooms'));
  });
});
