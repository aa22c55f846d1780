// expect oxlint: typescript(return-await)
export async function again(value: Promise<number>): Promise<number> {
  return value;
}
