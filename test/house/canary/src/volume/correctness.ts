// A rule of the category "correctness".
// expect oxlint: eslint(no-self-assign)
export function keep(box: { value: number }): void {
  box.value = box.value;
}
