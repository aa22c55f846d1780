export type Outside = number;
