// expect knip: exports
// expect knip: types
export function used(): void {}

export function unused(): void {}

export type UnusedType = number;
