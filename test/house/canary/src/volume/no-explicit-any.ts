// expect oxlint: typescript(no-explicit-any)
function loose(value: any): unknown {
  return value;
}
export const tight = loose(1);
