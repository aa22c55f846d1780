// expect rooms: unknown-room
export const stray = 1;
