// expect tsc: TS2322
export const count: number = 'three';
