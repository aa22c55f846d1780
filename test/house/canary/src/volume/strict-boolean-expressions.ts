// expect oxlint: typescript(strict-boolean-expressions)
export function title(name: string | undefined): string {
  if (name) return name;
  return 'nameless';
}
