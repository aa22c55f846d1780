// expect oxlint: eslint(no-param-reassign)
export function next(value: number): number {
  value += 1;
  return value;
}
