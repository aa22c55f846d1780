// expect oxlint: unicorn(prefer-node-protocol)
// expect rooms: package
import { inspect } from 'util';

export const show = inspect;
