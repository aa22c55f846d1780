// expect oxlint: unused-directive
// oxlint-disable-next-line eqeqeq
export const nothingToSilence = 1;
