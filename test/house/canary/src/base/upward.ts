// expect rooms: room
export async function load(): Promise<unknown> {
  return await import('../host/fine.ts');
}
