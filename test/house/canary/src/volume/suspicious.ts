// A rule of the category "suspicious".
// expect oxlint: eslint(no-unneeded-ternary)
export function isBig(value: number): boolean {
  return value > 100 ? true : false;
}
