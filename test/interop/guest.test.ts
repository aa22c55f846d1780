/**
 * A guest with Linux's own initiator and dm-multipath over two portals, while the engine is killed under it.
 *
 *     guest: ext4, xfs ─▶ dm-multipath ─▶ sda, sdb ─▶ two sessions ─▶ two portals ─▶ engine ✗ kill -9 ─▶ new engine
 *
 * One guest serves all tests of this file, in order; booting it takes longer than most of them.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Guest, hostFromGuest } from '../support/guest.ts';
import { guestImage } from '../support/guest-image.ts';
import { describeWith } from '../support/interop.ts';
import { IscsiAppliance } from '../support/iscsi-appliance.ts';
import { run, sleep } from '../support/run.ts';

const mebi = 1 << 20;
const host = 'guest';
const initiatorName = 'iqn.2026-11.org.tidemark.test:guest';
const ext4Lun = 1;
const xfsLun = 2;
const bareLun = 3;

const packages = [
  'busybox-static',
  'cpio',
  'e2fsprogs',
  'fio',
  'qemu-system-x86',
  'sg3-utils',
  'xfsprogs',
] as const;

/** Shell words that find the paths and the map of a LUN, whatever the kernel named them. */
function deviceWords(lun: number): string {
  return `
    paths=$(ls -d /sys/class/scsi_device/*:${lun}/device/block/* | sed 's|.*/||' | sort)
    first=/dev/$(echo $paths | cut -d' ' -f1); second=/dev/$(echo $paths | cut -d' ' -f2)
    map=$(ls /sys/block/$(basename $first)/holders); disk=/dev/$map
  `;
}

describeWith(packages, 'a guest with multipath', () => {
  let target: IscsiAppliance;
  let guest: Guest | undefined;

  beforeAll(async () => {
    // The image is made first: that takes a while on a machine that never made one.
    await guestImage();
    target = await IscsiAppliance.start();
    const { appliance } = target;
    await appliance.api('POST', '/v1/hosts', { name: host, initiators: [initiatorName] });
    for (const [lun, name, size] of [
      [ext4Lun, 'ext4', 256 * mebi],
      [xfsLun, 'xfs', 512 * mebi],
      [bareLun, 'bare', 64 * mebi],
    ] as const) {
      await appliance.volumeCreate(name, size);
      await target.lunMap(name, { host, lun });
    }
    guest = await Guest.boot({ initiatorName });
  });

  afterAll(async () => {
    await guest?.stop();
    await target.remove();
  });

  async function inGuest(lun: number, script: string): Promise<string> {
    return await present(guest).run(`set -e\n${deviceWords(lun)}\n${script}`);
  }

  /** Waits in the guest until a shell condition holds. */
  async function guestSees(what: string, condition: string): Promise<void> {
    const script = `for i in $(seq 240); do ${condition} && exit 0; sleep 0.5; done; exit 1`;
    const { code, output } = await present(guest).tryRun(script);
    if (code !== 0) {
      const { output: state } = await present(guest).tryRun(
        'multipath -ll; iscsiadm -m session; cat /tmp/fio.log; ps | grep fio; dmesg | tail -40',
      );
      throw new Error(`never: ${what}\n${output}\n${state}\n${present(guest).console}`);
    }
  }

  async function allPathsActive(): Promise<void> {
    await guestSees(
      'six active paths',
      '[ $(multipath -ll | grep -c "active ready running") = 6 ]',
    );
  }

  it('finds the target on both portals, logs in, and sees two paths of each LUN', async () => {
    const [first] = target.ports;
    const found = await present(guest).run(
      `iscsiadm -m discovery -t sendtargets -p ${hostFromGuest}:${first}`,
    );
    for (const port of target.ports) {
      expect(found).toContain(`127.0.0.1:${port},1 ${target.targetName}`);
      // The guest reaches the portals under another address than the one they are told of.
      const node = `iscsiadm -m node -T ${target.targetName} -p ${hostFromGuest}:${port}`;
      await present(guest).run(`${node} -o new && ${node} -l`);
    }
    await allPathsActive();
    const maps = await present(guest).run('multipath -ll');
    expect(maps.match(/TIDEMARK/g)).toHaveLength(3);
    // ALUA told the priority: without it multipathd would say 1.
    expect(maps.match(/prio=50 status=/g)?.length).toBeGreaterThanOrEqual(3);
  });

  it('the kernel knows what the unit can do: thin, non-rotational, write-through', async () => {
    const queue = await inGuest(
      bareLun,
      `cd /sys/block/$(basename $first)/queue
       grep . rotational write_cache physical_block_size logical_block_size
       [ $(cat discard_max_bytes) -gt 0 ] && [ $(cat write_zeroes_max_bytes) -gt 0 ]`,
    );
    expect(queue).toContain('rotational:0');
    expect(queue).toContain('write_cache:write through');
    expect(queue).toContain('physical_block_size:4096');
    expect(queue).toContain('logical_block_size:512');
  });

  it('fio verifies what it wrote while the engine was killed, and ext4 checks clean', async () => {
    await inGuest(
      ext4Lun,
      `mkfs.ext4 -q $disk; mkdir -p /mnt/ext4; mount $disk /mnt/ext4
       (fio --name=verify --directory=/mnt/ext4 --size=4M --bs=4k --rw=randwrite --ioengine=psync \\
          --numjobs=2 --direct=1 --rate_iops=,80 --verify=crc32c --do_verify=1 --verify_fatal=1 \\
          > /tmp/fio.log 2>&1; echo $? > /tmp/fio.code) < /dev/null > /dev/null 2>&1 &`,
    );
    await guestSees('fio writes', '[ $(du -sk /mnt/ext4 | cut -f1) -gt 512 ]');
    for (let kill = 0; kill < 2; kill += 1) {
      await sleep(1500);
      await target.killEngine();
      await allPathsActive();
    }
    await guestSees('fio ends', '[ -e /tmp/fio.code ]');
    const log = await present(guest).run('cat /tmp/fio.log');
    expect(await present(guest).run('cat /tmp/fio.code'), log).toBe('0');
    await inGuest(ext4Lun, 'umount /mnt/ext4; e2fsck -fn $disk');
  });

  it('a unit that grew is seen after a rescan, and xfs grows into it', async () => {
    await inGuest(
      xfsLun,
      `mkfs.xfs -q $disk; mkdir -p /mnt/xfs; mount $disk /mnt/xfs
       dd if=/dev/urandom of=/mnt/xfs/before bs=1M count=16 2> /dev/null; sync
       md5sum /mnt/xfs/before > /tmp/before.md5`,
    );
    await target.appliance.api('POST', '/v1/volumes/xfs/resize', { sizeBytes: 768 * mebi });
    await inGuest(
      xfsLun,
      `for path in $paths; do echo 1 > /sys/block/$path/device/rescan; done
       multipathd resize map $map
       [ $(blockdev --getsize64 $disk) = ${768 * mebi} ]
       xfs_growfs /mnt/xfs > /dev/null
       [ $(df -k /mnt/xfs | tail -1 | awk '{print $2}') -gt 600000 ]
       md5sum -c /tmp/before.md5`,
    );
  });

  it('fstrim gives space back: the unit says so, and the file system stays whole', async () => {
    const { stdout: before } = await run('nbdinfo', ['--map', target.appliance.uri('xfs')]);
    await inGuest(
      xfsLun,
      'rm /mnt/xfs/before; sync; fstrim -v /mnt/xfs; umount /mnt/xfs; xfs_repair -n $disk',
    );
    const { stdout: after } = await run('nbdinfo', ['--map', target.appliance.uri('xfs')]);
    expect(dataBytes(after)).toBeLessThan(dataBytes(before) - 12 * mebi);
  });

  it('blkdiscard and WRITE SAME leave zeros', async () => {
    await inGuest(
      bareLun,
      `dd if=/dev/urandom of=$disk bs=1M count=8 oflag=direct 2> /dev/null
       blkdiscard -o 1048576 -l 1048576 $disk
       sg_write_same --in=/dev/zero --xferlen=512 --lba=8192 --num=2048 --16 $first
       cmp -n 1048576 /dev/zero <(dd if=$disk bs=1M skip=1 count=1 iflag=direct 2> /dev/null)
       cmp -n 1048576 /dev/zero <(dd if=$disk bs=1M skip=4 count=1 iflag=direct 2> /dev/null)
       ! cmp -s -n 1048576 /dev/zero <(dd if=$disk bs=1M skip=2 count=1 iflag=direct 2> /dev/null)`,
    );
  });

  it('a persistent reservation keeps the other path out, also after the engine was killed', async () => {
    const reserve = `
      sg_persist --out --register --param-sark=0xabc --param-aptpl $first > /dev/null
      sg_persist --out --reserve --param-rk=0xabc --prout-type=3 $first > /dev/null`;
    const excluded = `
      dd if=/dev/zero of=$first bs=4k count=1 oflag=direct 2> /dev/null
      ! dd if=/dev/zero of=$second bs=4k count=1 oflag=direct 2> /dev/null
      sg_persist --in --read-reservation $second`;
    await inGuest(bareLun, reserve + excluded);
    await target.killEngine();
    await allPathsActive();
    const after = await inGuest(bareLun, excluded);
    expect(after).toMatch(/Exclusive Access/);
    await inGuest(
      bareLun,
      `sg_persist --out --release --param-rk=0xabc --prout-type=3 $first > /dev/null
       sg_persist --out --register --param-rk=0xabc --param-sark=0 $first > /dev/null
       dd if=/dev/zero of=$second bs=4k count=1 oflag=direct 2> /dev/null`,
    );
  });

  it('sg3-utils read what the unit says of itself', async () => {
    expect(await inGuest(bareLun, 'sg_inq -p di $first')).toMatch(/NAA 6/);
    expect(await inGuest(bareLun, 'sg_inq -p bl $first')).toMatch(
      /Maximum compare and write length: [1-9]/,
    );
    expect(await inGuest(bareLun, 'sg_vpd -p lbpv $first')).toMatch(/LBPU\)?: 1/);
    expect(await inGuest(bareLun, 'sg_rtpg -d $first')).toMatch(/active\/optimized/i);
    expect(await inGuest(bareLun, 'sg_readcap --16 $first')).toMatch(/lbpme=1/);
    expect(await inGuest(bareLun, 'sg_get_lba_status --lba=0 $first')).toMatch(/\[1\] LBA: 0x0+ /);
  });

  it('logs out, and nothing of the kernel complained', async () => {
    await present(guest).run('multipath -F; iscsiadm -m node -u');
    expect(present(guest).console).not.toMatch(
      /BUG|Oops|corruption|I\/O error.*(ext4|xfs)|Corruption/i,
    );
  });
});

function present(guest: Guest | undefined): Guest {
  if (guest === undefined) throw new Error('the guest did not boot');
  return guest;
}

/** Bytes that a map of nbdinfo shows as data. */
function dataBytes(map: string): number {
  return [...map.matchAll(/^\s*\d+\s+(\d+)\s+0\s/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
}
