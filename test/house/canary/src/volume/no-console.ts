// expect oxlint: eslint(no-console)
export function shout(): void {
  console.log('loud');
}
