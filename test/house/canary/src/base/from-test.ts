// expect rooms: outside
import type { Outside } from '../../outside.ts';

export type Inside = Outside;
