// expect oxlint: eslint(max-depth)
export function sum(values: readonly (readonly number[])[]): number {
  let total = 0;
  for (const row of values) {
    for (const value of row) {
      if (value > 0) {
        if (value < 100) {
          total += value;
        }
      }
    }
  }
  return total;
}
