// expect oxlint: oxc(no-barrel-file)
export * from './eqeqeq.ts';
