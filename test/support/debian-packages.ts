/**
 * Debian packages whose programs the interop tests drive. The test command installs what is missing when it may
 * (root on a machine with apt); otherwise the tests that need a package are skipped and name it.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';

/** Program that proves the package is there, by package name. Absolute paths and names on the PATH. */
export const debianPackages = {
  'busybox-static': '/bin/busybox',
  cpio: '/usr/bin/cpio',
  e2fsprogs: '/sbin/mkfs.ext4',
  fio: '/usr/bin/fio',
  fuse3: '/usr/bin/fusermount3',
  'libiscsi-bin': '/usr/bin/iscsi-test-cu',
  'libnbd-bin': '/usr/bin/nbdinfo',
  mount: '/usr/bin/mount',
  'nbd-client': '/usr/sbin/nbd-client',
  'nbd-server': '/usr/bin/nbd-server',
  nbdkit: '/usr/bin/nbdkit',
  'python3-libnbd': '/usr/lib/python3/dist-packages/nbd.py',
  'qemu-block-extra': '/usr/lib/x86_64-linux-gnu/qemu/block-iscsi.so',
  'qemu-system-x86': '/usr/bin/qemu-system-x86_64',
  'qemu-utils': '/usr/bin/qemu-img',
  'sg3-utils': '/usr/bin/sg_persist',
  tgt: '/usr/sbin/tgtd',
  virtnbdbackup: '/usr/bin/virtnbdbackup',
  xfsprogs: '/sbin/mkfs.xfs',
} as const;
export type DebianPackage = keyof typeof debianPackages;

const allPackages = Object.keys(debianPackages) as DebianPackage[];

/** Those of `wanted` (default: all) that are not installed. */
export function missingPackages(
  wanted: readonly DebianPackage[] = allPackages,
): readonly DebianPackage[] {
  return wanted.filter((name) => !fs.existsSync(debianPackages[name]));
}

export interface InstallResult {
  /** What is still missing; empty when every package is there. */
  readonly missing: readonly DebianPackage[];
  /** One line for people about what was done. */
  readonly summary: string;
}

const installTimeoutMs = 10 * 60_000;

function apt(args: readonly string[]): boolean {
  const result = spawnSync('apt-get', [...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    timeout: installTimeoutMs,
  });
  return result.status === 0;
}

/** Installs what is missing when this process is root and apt-get works. */
export function installPackages(): InstallResult {
  const missing = missingPackages();
  if (missing.length === 0) return { missing, summary: 'all there' };
  if (process.getuid?.() !== 0) {
    return { missing, summary: `not root, so not installed: ${missing.join(' ')}` };
  }
  apt(['update', '-qq']);
  apt(['install', '-y', '-qq', '--no-install-recommends', ...missing]);
  const left = missingPackages();
  const summary =
    left.length === 0 ? `installed ${missing.join(' ')}` : `could not install ${left.join(' ')}`;
  return { missing: left, summary };
}
