// expect oxlint: unicorn(filename-case)
export const kebab = false;
