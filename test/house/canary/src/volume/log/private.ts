export const secret = 1;
export type Secret = number;
