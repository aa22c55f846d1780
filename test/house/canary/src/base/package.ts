// expect rooms: package
import { pino } from 'pino';

export const log = pino;
