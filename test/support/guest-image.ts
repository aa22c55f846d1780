/**
 * The initial file system of test guests: Debian's cloud kernel and its real initiator, in memory, nothing on disk.
 *
 *     apt-get download ──▶ unpacked packages ┐
 *     programs of this machine (fio, mkfs) ──┼─▶ tree with every library they link ──▶ cpio ──▶ guest.cpio + vmlinuz
 *     kernel modules with their dependencies ┘
 *
 * The packages are only unpacked, never installed: a kernel, an initiator and a multipath daemon have no business on the
 * machine that runs the tests. The result is kept in the temporary folder under a name made of its recipe.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { run, tryRun } from './run.ts';

/** Unpacked for the guest; the kernel's package is named by what linux-image-cloud-amd64 depends on. */
const guestPackages = [
  'open-iscsi',
  'libopeniscsiusr',
  'libisns0',
  'multipath-tools',
  'kpartx',
  'libaio1',
  'liburcu8',
  'udev',
  'dmsetup',
  'libdevmapper1.02.1',
];
/** Modules that init loads, by name; their dependencies come along. */
const modules = [
  'virtio_pci',
  'virtio_net',
  'sd_mod',
  'sg',
  'iscsi_tcp',
  'dm_multipath',
  'dm_round_robin',
  'dm_service_time',
  'xfs',
  'crc32c_intel',
];
/** Programs of this machine, installed by the test command; see debian-packages.ts. */
const hostPrograms = [
  '/bin/bash',
  '/usr/bin/fio',
  '/usr/bin/sg_persist',
  '/usr/bin/sg_inq',
  '/usr/bin/sg_raw',
  '/usr/bin/sg_write_same',
  '/usr/bin/sg_unmap',
  '/usr/bin/sg_get_lba_status',
  '/usr/bin/sg_rtpg',
  '/usr/bin/sg_readcap',
  '/usr/bin/sg_vpd',
  '/sbin/mkfs.ext4',
  '/sbin/e2fsck',
  '/sbin/resize2fs',
  '/sbin/mkfs.xfs',
  '/usr/sbin/xfs_growfs',
  '/usr/sbin/xfs_repair',
  '/usr/sbin/xfs_io',
  '/sbin/blkdiscard',
  '/sbin/fstrim',
];
const unpackedPrograms = [
  'sbin/iscsid',
  'sbin/iscsiadm',
  'sbin/iscsistart',
  'sbin/multipathd',
  'sbin/multipath',
  'sbin/mpathpersist',
  'sbin/dmsetup',
  'bin/udevadm',
  'lib/udev/scsi_id',
];
const multipathPlugins = ['libchecktur', 'libcheckdirectio', 'libprioalua', 'libprioconst'];
const udevRules = ['50-udev-default', '60-persistent-storage', '55-dm'];
const busybox = '/bin/busybox';
const initScript = path.join(import.meta.dirname, 'guest-init.sh');

export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** Name of the kernel's package, as this machine's package lists know it. */
async function kernelPackage(): Promise<string> {
  const { stdout } = await run('apt-cache', ['depends', 'linux-image-cloud-amd64']);
  const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1];
  if (name === undefined) throw new Error('linux-image-cloud-amd64 is not known to apt');
  return name;
}

async function download(names: readonly string[], folder: string): Promise<void> {
  const options = ['-o', 'APT::Sandbox::User=root', '-q', 'download', ...names];
  const first = await tryRun('apt-get', options, { cwd: folder });
  if (first.code === 0) return;
  // The lists may be older than the archive: a new point release takes the old files away.
  await run('apt-get', ['update', '-qq'], { timeoutMs: 300_000 });
  await run('apt-get', options, { cwd: folder });
}

/** Copies a file to the same place in the tree, links resolved. */
function place(tree: string, source: string, target: string): void {
  const file = path.join(tree, target);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.copyFileSync(fs.realpathSync(source), file);
  fs.chmodSync(file, 0o755);
}

/** Libraries that a program links, as ldd finds them with the unpacked ones first. */
async function librariesOf(programs: readonly string[], root: string): Promise<string[]> {
  const folders = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'lib'];
  const search = folders.map((folder) => path.join(root, folder)).join(':');
  const { stdout } = await run('ldd', programs, { env: { LD_LIBRARY_PATH: search } });
  const missing = /\S+ => not found/.exec(stdout)?.[0];
  if (missing !== undefined) throw new Error(`a library of the guest is missing: ${missing}`);
  const found = [...stdout.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map(([, file]) => file ?? '');
  return [...new Set(found)];
}

async function addPrograms(tree: string, root: string): Promise<void> {
  const unpacked = unpackedPrograms.map((name) => path.join(root, name));
  const plugins = multipathPlugins.map((name) => path.join(root, 'lib/multipath', `${name}.so`));
  for (const program of hostPrograms) place(tree, program, program);
  for (const [index, name] of unpackedPrograms.entries()) place(tree, unpacked[index] ?? '', name);
  for (const plugin of plugins) place(tree, plugin, `lib/multipath/${path.basename(plugin)}`);
  for (const library of await librariesOf([...hostPrograms, ...unpacked, ...plugins], root)) {
    const isLoader = path.basename(library).startsWith('ld-linux');
    const folder = isLoader ? path.dirname(library) : 'lib/x86_64-linux-gnu';
    place(tree, library, path.join(folder, path.basename(library)));
  }
  place(tree, busybox, 'bin/busybox');
  for (const rule of udevRules) {
    const file = `lib/udev/rules.d/${rule}.rules`;
    if (fs.existsSync(path.join(root, file))) place(tree, path.join(root, file), file);
  }
}

/** Copies the wanted modules and what they need, in the order in which they must be loaded. */
function addModules(tree: string, root: string, release: string): void {
  const folder = `lib/modules/${release}`;
  const dependencies = new Map<string, readonly string[]>();
  const fileByName = new Map<string, string>();
  for (const line of fs.readFileSync(path.join(root, folder, 'modules.dep'), 'utf8').split('\n')) {
    const [file = '', needs = ''] = line.split(':');
    if (file === '') continue;
    dependencies.set(file, needs.trim() === '' ? [] : needs.trim().split(' '));
    fileByName.set(path.basename(file, '.ko').replaceAll('-', '_'), file);
  }
  const ordered = new Set<string>();
  const add = (file: string): void => {
    for (const need of dependencies.get(file) ?? []) if (!ordered.has(need)) add(need);
    ordered.add(file);
  };
  for (const name of modules) {
    const file = fileByName.get(name);
    if (file === undefined) throw new Error(`the kernel has no module ${name}`);
    add(file);
  }
  for (const file of ordered) place(tree, path.join(root, folder, file), path.join(folder, file));
  const list = [...ordered].map((file) => `/${folder}/${file}`);
  fs.writeFileSync(path.join(tree, 'modules'), `${list.join('\n')}\n`);
}

function addSettings(tree: string): void {
  for (const folder of ['etc/iscsi', 'etc/multipath', 'dev', 'proc', 'sys', 'run', 'tmp', 'mnt']) {
    fs.mkdirSync(path.join(tree, folder), { recursive: true });
  }
  const files: Readonly<Record<string, string>> = {
    'etc/passwd': 'root:x:0:0:root:/:/bin/sh\n',
    'etc/group': 'root:x:0:\ndisk:x:6:\ntty:x:5:\n',
    'etc/hosts': '127.0.0.1 localhost\n',
    // Quick to notice a dead path and to try again, so that a test sees a failover within seconds.
    'etc/iscsi/iscsid.conf': [
      'node.startup = manual',
      'node.session.timeo.replacement_timeout = 5',
      'node.conn[0].timeo.noop_out_interval = 2',
      'node.conn[0].timeo.noop_out_timeout = 5',
      'node.session.err_timeo.abort_timeout = 15',
      'node.session.initial_login_retry_max = 8',
      '',
    ].join('\n'),
    // The library's own choices, but for the waiting time of a path that is gone.
    'etc/multipath.conf': [
      'defaults {',
      '  polling_interval 1',
      '  max_polling_interval 2',
      '  find_multipaths no',
      '  no_path_retry queue',
      '}',
      '',
    ].join('\n'),
  };
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(tree, name), text);
  place(tree, initScript, 'init');
  fs.symlinkSync('../bin/udevadm', path.join(tree, 'sbin/systemd-udevd'));
}

async function build(folder: string, names: readonly string[]): Promise<void> {
  const debs = path.join(folder, 'debs');
  const root = path.join(folder, 'root');
  const tree = path.join(folder, 'tree');
  for (const each of [debs, root, tree]) fs.mkdirSync(each, { recursive: true });
  await download(names, debs);
  for (const deb of fs.readdirSync(debs)) await run('dpkg-deb', ['-x', path.join(debs, deb), root]);
  const kernel = fs.readdirSync(path.join(root, 'boot')).find((name) => name.startsWith('vmlinuz'));
  if (kernel === undefined) throw new Error('the kernel package holds no kernel');
  const release = kernel.slice('vmlinuz-'.length);
  await run(busybox, ['depmod', '-b', root, release]);
  await addPrograms(tree, root);
  addModules(tree, root, release);
  addSettings(tree);
  fs.copyFileSync(path.join(root, 'boot', kernel), path.join(folder, 'vmlinuz'));
  const script = 'cd "$1" && find . | cpio -o -H newc -R 0:0 --quiet > "$2"';
  await run('sh', ['-c', script, 'pack', tree, path.join(folder, 'guest.cpio')]);
  for (const each of [debs, root, tree]) fs.rmSync(each, { recursive: true });
}

/** The image, made when it is not there yet. Throws with what is missing when it cannot be made here. */
export async function guestImage(): Promise<GuestImage> {
  const names = [await kernelPackage(), ...guestPackages];
  const recipe = crypto.createHash('sha256').update(names.join(' '));
  for (const file of [import.meta.filename, initScript]) recipe.update(fs.readFileSync(file));
  // The test runner gives each stage a temporary folder that goes with it; the image outlives that.
  const images = process.env['TIDEMARK_GUEST_IMAGES'] ?? os.tmpdir();
  const folder = path.join(images, `tidemark-guest-${recipe.digest('hex').slice(0, 16)}`);
  if (!fs.existsSync(folder)) {
    const making = fs.mkdtempSync(path.join(images, 'tidemark-guest-making-'));
    await build(making, names);
    // Another run may have been quicker; its image is the same.
    if (fs.existsSync(folder)) fs.rmSync(making, { recursive: true });
    else fs.renameSync(making, folder);
  }
  return { kernel: path.join(folder, 'vmlinuz'), initrd: path.join(folder, 'guest.cpio') };
}
