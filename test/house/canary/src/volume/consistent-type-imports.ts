// expect oxlint: typescript(consistent-type-imports)
// expect tsc: TS1484
import { One } from './shape.ts';

export function same(one: One): One {
  return one;
}
