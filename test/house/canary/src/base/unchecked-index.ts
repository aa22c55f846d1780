// expect tsc: TS2322
export function first(values: readonly number[]): number {
  return values[0];
}
