// expect oxlint: typescript(explicit-module-boundary-types)
export function implied(value: number) {
  return value + 1;
}
