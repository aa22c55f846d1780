// expect oxlint: eslint(max-params)
export function total(a: number, b: number, c: number, d: number, e: number): number {
  return a + b + c + d + e;
}
