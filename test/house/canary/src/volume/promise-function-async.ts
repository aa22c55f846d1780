// expect oxlint: typescript(promise-function-async)
export function later(): Promise<number> {
  return Promise.resolve(1);
}
