/** The superblock through crash after crash: whatever stops an update, and the update after it, one generation counts. */
import { describe, expect, it } from 'vitest';
import { DiskError } from '../../src/base/ports.ts';
import type { Superblock } from '../../src/volume/format/superblock.ts';
import { readSuperblock, writeSuperblock } from '../../src/volume/recovery/superblock-file.ts';
import { SeededRandom } from '../sim/random.ts';
import { Scheduler } from '../sim/scheduler.ts';
import { FaultSupervisor } from '../sim/supervisors.ts';
import { isMutation, SimulatedCrash, VirtualDisk } from '../sim/virtual-disk.ts';
import { LossStyle } from '../sim/virtual-file.ts';
import { VirtualImage } from '../sim/virtual-image.ts';

const walks = 1500;
const updatesPerWalk = 12;

function superblockOf(generation: number): Superblock {
  return {
    poolUuid: new Uint8Array(16).fill(7),
    nodeUuid: new Uint8Array(16).fill(8),
    generation,
    epoch: generation,
    isClean: false,
    segmentSlots: 64,
    manifestAppliedPosition: 0,
    manifestDigest: new Uint8Array(32),
    replayFromSegId: 0,
    segIdHighWater: generation,
    hlcMsHighWater: 0,
    capacityBytes: 2 ** 30,
    createdMs: 0,
    durableThrough: 0,
    relogEpoch: 0,
    softPermille: 0,
    hardPermille: 0,
    ageMs: 0,
    name: 'main',
  };
}

/** A disk on which the process dies before change number `pointsLeft`, or a flush fails there. */
function fragileDisk(image: VirtualImage, random: SeededRandom, pointsLeft: number): VirtualDisk {
  let left = pointsLeft;
  const fails = random.chance(0.3);
  const supervisor = new FaultSupervisor(random, new Scheduler(random), (call) => {
    if (!isMutation(call)) return undefined;
    left -= 1;
    if (left !== 0) return undefined;
    if (fails) return { kind: 'error', code: 'EIO' };
    throw new SimulatedCrash(`before call ${call.number}`);
  });
  return new VirtualDisk(image, supervisor);
}

/** Whether the update went through. */
function update(disk: VirtualDisk, generation: number): boolean {
  try {
    writeSuperblock(disk, superblockOf(generation));
    return true;
  } catch (thrown) {
    if (thrown instanceof SimulatedCrash || thrown instanceof DiskError) return false;
    throw thrown;
  }
}

function walk(seed: number): void {
  const random = new SeededRandom(seed);
  const image = new VirtualImage();
  update(fragileDisk(image, random, 0), 1);
  let completed = 1;
  const history: string[] = [];
  for (let count = 0; count < updatesPerWalk; count += 1) {
    const found = readSuperblock(fragileDisk(image, random, 0)).generation;
    expect(found, `seed ${seed}: ${history.join(' ')}`).toBeGreaterThanOrEqual(completed);
    const point = random.below(12);
    if (update(fragileDisk(image, random, point), found + 1)) completed = found + 1;
    const style = random.pick(['kill', ...Object.values(LossStyle)] as const);
    if (style !== 'kill') image.lose(random, style);
    history.push(`${found + 1}/${point}/${style}`);
  }
}

describe('superblock file', () => {
  it('keeps the newest finished generation through any sequence of crashes and failed flushes', () => {
    for (let seed = 1; seed <= walks; seed += 1) walk(seed);
  });
});
