/**
 * Which blocks of sealed segments packing must keep, judged by what is in them and by nothing that the store says: every write
 * stamps its own contents, so a block is wanted when the model shows its contents somewhere.
 */
import { addressOf } from '../../src/volume/format/address.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import { footerFrame } from '../../src/volume/format/footer.ts';
import { addSlot, packMapBytes } from '../../src/volume/format/pack.ts';
import { segIdOfName, segmentFolder } from '../../src/volume/log/segment-path.ts';
import { Containers } from '../../src/volume/pack/containers.ts';
import type { PackOrder } from '../../src/volume/pack/pack-plan.ts';
import { type Footer, SegmentSource } from '../../src/volume/recovery/segment-source.ts';
import { finish } from '../../src/volume/steps.ts';
import { type ContentId, type ContentTable, zeroContent } from './content.ts';
import type { ModelSnapshot, PoolState } from './model.ts';
import { SeededRandom } from './random.ts';
import { type DiskSupervisor, VirtualDisk } from './virtual-disk.ts';
import type { VirtualImage } from './virtual-image.ts';

/** Looks at an image without being part of the run. */
const bystander: DiskSupervisor = {
  before: () => undefined,
  during: () => undefined,
  later: () => undefined,
  random: new SeededRandom(1),
};

/** Contents that a pool in this state can show; `others` are states that it can go back to. */
export function wantedContents(
  state: PoolState,
  others: Iterable<ModelSnapshot> = [],
): Set<ContentId> {
  const wanted = new Set<ContentId>([zeroContent]);
  const add = ({ blocks }: ModelSnapshot): void => {
    for (const content of blocks.values()) wanted.add(content);
  };
  for (const volume of state.values()) {
    add(volume);
    for (const snapshot of volume.snapshotByName.values()) add(snapshot);
  }
  for (const other of others) add(other);
  return wanted;
}

/** Orders for all segments that have a footer but the newest, by ascending id. */
export function packOrders(
  image: VirtualImage,
  pool: { readonly uuid: Uint8Array; readonly segmentSlots: number },
  contents: ContentTable,
  wanted: ReadonlySet<ContentId>,
): PackOrder[] {
  const { segmentSlots } = pool;
  const disk = new VirtualDisk(image, bystander);
  const seeds = new Seeds(pool.uuid);
  const containers = new Containers(disk, segmentSlots, seeds);
  finish(containers.load());
  const own = disk.list(segmentFolder).map(segIdOfName);
  const ids = new Set([...own.filter((id) => id !== undefined), ...containers.segIds()]);
  const orders: PackOrder[] = [];
  for (const segId of [...ids].sort((left, right) => left - right)) {
    const source = new SegmentSource(containers, segId, segmentSlots, seeds);
    const epoch = source.header()?.header.epoch;
    const footer = epoch === undefined ? undefined : source.footer(epoch);
    if (footer === undefined) continue;
    const keep = new Uint8Array(packMapBytes(segmentSlots));
    const reader = source.reader();
    for (const data of dataSlotsOf(footer)) {
      const block = reader.slots(addressOf(segId, data), 1);
      if (block !== undefined && wanted.has(contents.intern(block))) addSlot(keep, data);
    }
    orders.push({ segId, keep, keptThrough: 0 });
  }
  return orders;
}

function* dataSlotsOf({ bytes, header }: Footer): Generator<number> {
  for (let at = 0; at < header.frameCount; at += 1) {
    const { slot, headerBlocks, dataBlocks } = footerFrame(bytes, header, at);
    const first = slot + headerBlocks;
    for (let data = first; data < first + dataBlocks; data += 1) yield data;
  }
}
