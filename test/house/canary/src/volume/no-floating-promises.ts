// expect oxlint: typescript(no-floating-promises)
const handlers = new Map<string, () => Promise<void>>();

export function call(name: string): void {
  handlers.get(name)?.();
}
