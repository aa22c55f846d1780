/** What the interop tests share. */
import { describe } from 'vitest';
import { type DebianPackage, missingPackages } from './debian-packages.ts';

/** A suite that needs Debian packages. Without them it is skipped and its title names what is missing. */
export function describeWith(
  packages: readonly DebianPackage[],
  title: string,
  define: () => void,
): void {
  const missing = missingPackages(packages);
  if (missing.length === 0) describe(title, define);
  else describe.skip(`${title} (not installed: ${missing.join(' ')})`, define);
}

/** Debian's own Python: `python3` on the path may be another one, without libnbd's module. */
export const debianPython = '/usr/bin/python3';
