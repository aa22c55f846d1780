/** How much garbage a pool bears before what lives is copied away from it. */
import { cleanerLimits } from './limits.ts';

/** How short of space the pool is: see `core/space.ts`. */
export type Pressure = keyof typeof cleanerLimits.fillAtLeast;

/** How much garbage may lie around, as a share of what lives. */
export function garbageShareAllowed(fill: number, pressure: Pressure): number {
  const counted = Math.max(fill, cleanerLimits.fillAtLeast[pressure]);
  const points = cleanerLimits.garbageShares;
  let before: (typeof points)[number] = points[0];
  for (const point of points) {
    if (counted <= point.fill) {
      const width = point.fill - before.fill;
      const way = width === 0 ? 1 : Math.max(0, (counted - before.fill) / width);
      return before.share + (point.share - before.share) * way;
    }
    before = point;
  }
  return before.share;
}
