// expect knip-production: exports
export function usedInProduct(): void {}

export function usedOnlyByItsTest(): void {}
