export interface One {
  readonly two: number;
}
