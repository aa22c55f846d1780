// expect oxlint: eslint(no-warning-comments)
// FIXME: later.
export const later = true;
