/** What the parts of an open pool share. Made once at open; each member has one owner, named here. */
import type { Staging } from '../../device/staging.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import type { Seeds } from '../format/checksum.ts';
import type { Superblock } from '../format/superblock.ts';
import type { BlockReader } from '../io/block-reader.ts';
import type { Line } from '../io/line.ts';
import type { SegmentFiles } from '../io/segment-files.ts';
import type { StoreSettings } from '../limits.ts';
import type { CrcTables } from '../log/crc-tables.ts';
import type { LogWriter } from '../log/log-writer.ts';
import type { SegmentSupply } from '../log/segment-supply.ts';
import type { LeafStore } from '../map/leaf-store.ts';
import type { Containers } from '../pack/containers.ts';
import type { CommitDoor, KeeperDoor, PoolHost } from '../ports.ts';
import type { SegmentTable } from '../recovery/segment-table.ts';

export interface PoolParts {
  readonly host: PoolHost;
  readonly settings: StoreSettings;
  readonly seeds: Seeds;
  readonly staging: Staging;
  readonly leaves: LeafStore;
  readonly crcTables: CrcTables;
  readonly files: SegmentFiles;
  /** In which file each segment lies. Changed when a pack takes the place of what was there. */
  readonly containers: Containers;
  readonly reader: BlockReader;
  /** Changed by catalogue records only, when they are published. */
  readonly catalogue: Catalogue;
  readonly lineById: Map<number, Line>;
  /** In log order. The last one is being written (unless the pool is read-only). */
  readonly segmentById: SegmentTable;
  readonly keeper: KeeperDoor;
  /** Undefined when the pool is read-only. */
  readonly writer: PoolWriter | undefined;
  /** As on disk; replaced whole when it is written. */
  superblock: Superblock;
}

export interface PoolWriter {
  readonly log: LogWriter;
  readonly supply: SegmentSupply;
  readonly commit: CommitDoor;
}
