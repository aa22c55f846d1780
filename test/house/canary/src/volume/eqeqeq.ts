// expect oxlint: eslint(eqeqeq)
export function isSame(left: string, right: string): boolean {
  return left == right;
}
