// expect tsc: TS1294
export enum Colour {
  red,
}
