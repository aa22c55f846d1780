// expect knip: files
export const nobodyImportsThis = 1;
