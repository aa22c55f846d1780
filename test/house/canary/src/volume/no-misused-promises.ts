// expect oxlint: typescript(no-misused-promises)
export function each(values: readonly number[]): void {
  values.forEach(async (value) => await Promise.resolve(value));
}
