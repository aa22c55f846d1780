// expect oxlint: eslint(no-restricted-globals)
// expect oxlint: eslint(no-restricted-properties)
export function soon(action: () => void): number {
  setTimeout(action, 1);
  return Date.now();
}
