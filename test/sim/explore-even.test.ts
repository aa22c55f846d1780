/** Small programs, a crash at every disk call: the even half of them. */
import { describe, expect, it } from 'vitest';
import { exploreByName, programNames } from './explore-support.ts';

describe('crash at every disk call, and in recovery', () => {
  for (const name of programNames(0)) {
    it(`loses nothing of ${name}`, () => {
      expect(exploreByName(name, 1).recoveries).toBeGreaterThan(800);
    });
  }
});
