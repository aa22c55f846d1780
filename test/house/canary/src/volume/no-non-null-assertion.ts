// expect oxlint: typescript(no-non-null-assertion)
export function head(values: readonly number[]): number {
  return values[0]!;
}
