// expect rooms: types-only
import { limit } from '../contract/limit.ts';

export const double = limit * 2;
