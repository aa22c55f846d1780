// expect oxlint: typescript(switch-exhaustiveness-check)
export function word(kind: 'read' | 'write'): string {
  switch (kind) {
    case 'read':
      return 'reads';
  }
  return 'other';
}
