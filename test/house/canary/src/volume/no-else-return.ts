// expect oxlint: eslint(no-else-return)
export function sign(value: number): number {
  if (value < 0) {
    return -1;
  } else {
    return 1;
  }
}
