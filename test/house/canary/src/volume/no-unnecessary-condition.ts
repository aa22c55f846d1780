// expect oxlint: typescript(no-unnecessary-condition)
export function size(values: readonly number[]): number {
  return values?.length;
}
