/**
 * Finds what a TypeScript file imports, without a parser: comments and the text of strings are blanked first, so
 * only real statements are left to match. Type-only imports, re-exports, `import()` and worker URLs are all found.
 */

export interface ImportEdge {
  readonly specifier: string;
  /** `import type` or `export type` as a whole. */
  readonly isTypeOnly: boolean;
  /** 1 is the first line. */
  readonly line: number;
}

/** One token that must not be read as code, or a string literal (kept for its text). */
const skipPattern =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;

const edgePatterns: readonly RegExp[] = [
  /\b(?:import|export)\s+(type\s+)?(?:[\w$*\s{},]+\s+)?from\s*@(\d+)@/g,
  /\bimport\s+()@(\d+)@/g,
  /\bimport\s*\(\s*()@(\d+)@/g,
  /\bnew\s+URL\s*\(\s*()@(\d+)@\s*,\s*import\.meta\.url/g,
];

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

export function importsOf(source: string): ImportEdge[] {
  const literals: string[] = [];
  const code = source.replaceAll(skipPattern, (token) => {
    const newlines = token.replaceAll(/[^\n]/g, '');
    if (token.startsWith('/')) return newlines;
    literals.push(token.slice(1, -1));
    return `@${literals.length - 1}@${newlines}`;
  });
  const edges: ImportEdge[] = [];
  for (const pattern of edgePatterns) {
    for (const match of code.matchAll(pattern)) {
      edges.push({
        specifier: literals[Number(match[2])] ?? '',
        isTypeOnly: (match[1] ?? '') !== '',
        line: lineOf(code, match.index),
      });
    }
  }
  return edges;
}
