// expect rooms: door
import { pool } from '../engine/pool-service.ts';

export const poolAgain = pool;
