/** The goals, as ratios to the peers measured in the same run. */
import type { Acknowledges } from './peers.ts';

export interface Goal {
  /** The server whose rate is compared. */
  readonly ours: string;
  readonly job: string;
  /** Peers to compare with: the best of those whose name matches. */
  readonly against: string;
  readonly isPeer: (name: string, acknowledges: Acknowledges) => boolean;
  readonly ratioMin: number;
}

const isNbdkitFile = (name: string): boolean => name === 'nbdkit file';
const isQemu = (name: string): boolean => name.startsWith('qemu-nbd');
const isDurable = (name: string, acknowledges: Acknowledges): boolean =>
  acknowledges === 'durable' && isAny(name);
const isAny = (name: string): boolean => !name.startsWith('tidemark');

const isQcow2 = (name: string): boolean => name === 'qemu-nbd qcow2 writeback';
const durable = 'tidemark';
const writeBack = 'tidemark write-back';

export const goals: readonly Goal[] = [
  {
    ours: durable,
    job: '4k read QD32',
    against: 'nbdkit file',
    isPeer: isNbdkitFile,
    ratioMin: 1.2,
  },
  { ours: durable, job: '4k read QD32', against: 'best qemu-nbd', isPeer: isQemu, ratioMin: 3 },
  {
    ours: durable,
    job: '4k write QD32',
    against: 'best durable peer',
    isPeer: isDurable,
    ratioMin: 5,
  },
  { ours: durable, job: '1m read QD4', against: 'nbdkit file', isPeer: isNbdkitFile, ratioMin: 1 },
  {
    ours: durable,
    job: '1m write burst',
    against: 'best durable peer',
    isPeer: isDurable,
    ratioMin: 1,
  },
  {
    ours: durable,
    job: '1m write QD4',
    against: 'best durable peer',
    isPeer: isDurable,
    ratioMin: 1,
  },
  { ours: durable, job: '4k read QD1', against: 'best peer', isPeer: isAny, ratioMin: 0.9 },
  {
    ours: durable,
    job: '4k write QD1',
    against: 'best durable peer',
    isPeer: isDurable,
    ratioMin: 0.9,
  },
  {
    ours: writeBack,
    job: '4k write QD32',
    against: 'nbdkit file',
    isPeer: isNbdkitFile,
    ratioMin: 1,
  },
  {
    ours: writeBack,
    job: '4k write QD32',
    against: 'qemu-nbd qcow2 writeback',
    isPeer: isQcow2,
    ratioMin: 3,
  },
];

const isTgt = (name: string): boolean => name.startsWith('tgt');
const isDurableTgt = (name: string, acknowledges: Acknowledges): boolean =>
  isTgt(name) && isDurable(name, acknowledges);

export const iscsiGoals: readonly Goal[] = [
  { ours: durable, job: '4k read QD32', against: 'best tgt', isPeer: isTgt, ratioMin: 2 },
  {
    ours: durable,
    job: '4k write QD32',
    against: 'tgt, cache off',
    isPeer: isDurableTgt,
    ratioMin: 3,
  },
  { ours: durable, job: '1m read QD32', against: 'best tgt', isPeer: isTgt, ratioMin: 1.5 },
  {
    ours: durable,
    job: '1m write QD32',
    against: 'tgt, cache off',
    isPeer: isDurableTgt,
    ratioMin: 1.5,
  },
];
