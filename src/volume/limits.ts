/** Every maximum of the store, and the settings that tests make small. */
import { slotSizeBytes, slotsPerSegmentMax } from './format/address.ts';

export interface StoreSettings {
  /** Slots of a segment in use: 8,192 (32 MiB) but for tests. Fixed at creation. */
  readonly segmentSlots: number;
  /** Zero-written segments kept ahead. */
  readonly readySegments: number;
  /** Bytes of log after which the whole catalogue is logged again: at least, when it is small, and at most. */
  readonly checkpointBytesMin: number;
  readonly checkpointBytesMax: number;
  /** Of one record of it, at most. */
  readonly checkpointPartBytes: number;
  /** Pieces of its text (`cataloguePieces`) that are made in one turn. */
  readonly checkpointSlicePieces: number;
  /** Bytes of the slab where payloads wait. */
  readonly stagingBytes: number;
  /** Most RAM of checksum tables (32 KiB a segment). */
  readonly crcTableBytes: number;
  /** RAM that maps may take: above it, those of moments that nobody uses and leaves that the index has are given up. */
  readonly mapBytes: number;
  /** An index run covers this many of the level below. */
  readonly runFanOut: number;
  /** Rate of the scrubber; 0 = it begins only when it is told to. */
  readonly scrubBytesPerSecond: number;
  /** How often windows are looked at, and the least that a horizon moves. */
  readonly retentionStepMs: number;
  /** Whether the cleaner gives space back by itself, or only when it is asked to. */
  readonly cleaner: 'auto' | 'off';
  /** Where the manifest database lives; ':memory:' in the simulator. */
  readonly manifestPath: string;
}

export const defaultSettings: Omit<StoreSettings, 'manifestPath'> = {
  segmentSlots: slotsPerSegmentMax,
  readySegments: 8,
  // Opening takes 0.1 s for each GiB of random 4 KiB writes behind the last one.
  checkpointBytesMin: 128 * 2 ** 20,
  checkpointBytesMax: 2 ** 30,
  checkpointPartBytes: 60_000,
  checkpointSlicePieces: 250,
  stagingBytes: 64 * 2 ** 20,
  crcTableBytes: 256 * 2 ** 20,
  mapBytes: 2 ** 30,
  runFanOut: 8,
  scrubBytesPerSecond: 20 * 2 ** 20,
  cleaner: 'off',
  retentionStepMs: 10_000,
};

export const limits = {
  /** Capacity of a new pool: this share of the file system's free space. */
  defaultCapacityShare: 0.9,
  /** Refuse writes when the file system has room for fewer segments than this and no more than this many are ready:
   *  what is staged (64 MiB) and the next trims and deletes must still find one. */
  fileSystemReserveSegments: 3,
  /** With room for fewer segments than this trims are refused, too: the rest is for the catalogue, so that deletes and what
   *  moves windows go on. */
  fileSystemLastSegments: 2,
  /** Of the files that were made ahead the cleaner gives up others than so many, when nothing else has room for a pack. */
  readySegmentsKept: 1,
  /** Look at the file system's free space this often. */
  freeSpaceCheckMs: 1000,
  /** What was free below counts for so long after it is not any more: files that are being made and removed are in no count. */
  fileSystemSettleMs: 5000,
  /** History is given up only for what is missing for so long: a file that somebody else has for less costs none. */
  fileSystemSteadyMs: 60_000,
  /** The capacity counts as available again when so much more than it is: a part of it. */
  fileSystemMarginShare: 0.01,
  /** Between the limits of space a block of a volume is due so much after the one before, half-way between the limits, if the
   *  volume does all the replacing: 40 MiB/s. There, beside clients, the cleaner copies 64 MiB/s, and 1.5 blocks for each that
   *  is written (write amplification 2.5 at 90 % with hot and cold data apart): it keeps up with 43 MiB/s. Measured with a writer at
   *  full speed (64 KiB at random, 80/20, 2 GiB alive in a pool of 3 GiB, other work on both cores, 110 s): nothing was refused,
   *  and cleaning kept up where a block was due every 0.2 to 0.7 ms (6 to 19 MiB/s): 70 to 88 % of the way. */
  throttleBlockMs: 0.1,
  /** Nothing is slower than this: 2 MiB/s. */
  throttleDelayMsMax: 2,
  /** A volume that replaces nothing is slowed down like one that does this share of it. */
  throttleWeightMin: 0.1,
  /** What was replaced counts less with every look, a second apart. */
  throttleMemory: 0.9,
  /** A write that is due sooner goes on: timers are not finer. */
  throttleStepMs: 1,
  /** No write waits longer: hosts give commands up after 30 s. */
  throttleWaitMsMax: 4000,
  /** A volume that was not written for so long is not shown as slowed down. */
  throttleShownMs: 5000,
  /** Writes that wait hold no more than this part of staging. */
  throttleStagingShare: 0.25,
  /** From this part of the way between the limits of space on windows become shorter, and automatic pins go. */
  reliefWindowsFrom: 0.2,
  reliefPinsFrom: 0.4,
  /** From here on nothing is spared for cleaning. */
  reliefHardFrom: 0.5,
  /** From here on writes are as slow as they get: see `throttleDelayMsMax`, which is reached at 0.952. */
  reliefStalledFrom: 0.95,
  /** So long is waited for what a step brings. */
  reliefStepMs: 10_000,
  /** Windows are halved so often at most, and never become shorter than this. */
  reliefHalvingsMax: 4,
  reliefWindowMsMin: 60_000,
  /** Volumes that are told of a step at each look, a second apart. */
  reliefVolumesPerLook: 64,
  /** Zeroing ahead: at most this many segments a second (132 KiB frames + flush: 0.15 ms alone, 0.61 ms beside unthrottled
   *  zeroing, 0.18 ms at 7 segments a second). */
  prepareIntervalMs: 143,
  /** Above this many segments a second the log extends files and nothing is zeroed ahead: at 30 segments a second (1 MiB
   *  writes) zeroing 7 of them took 40 % of a core and a fifth of the disk's bandwidth from the writes themselves. */
  prepareTakesMax: 12,
  /** Frames handed to the commit side at once: one being flushed, one behind it, so neither side waits for the other. */
  framesInFlightMax: 2,
  /** A compare-and-write or OR write of at most this many bytes goes before bulk writes that wait for the log. */
  urgentBytesMax: 65_536,
  /** Blocks written by compare-and-write and OR write that stay in RAM to be compared again. */
  recentBlocks: 256,
  /** Records of a clone in one frame: more than `writeAtomicBytes` can need, and small beside a frame's 2,048. */
  clonePartsMax: 1024,
  /** Write-back volumes: what was written is flushed after this long even if nobody asks. */
  writeBackFlushMs: 1000,
  /** Segment files open on the main thread. */
  openFilesMax: 512,
  volumeSizeBytesMax: 2 ** 50,
  volumesMax: 4096,
  snapshotsMax: 200_000,
  /** Maps of moments kept while nobody uses them, as long as `mapBytes` allows. */
  idleMomentMapsMax: 64,
  /** A moment that somebody asked for stays readable this long, at most so many of them: pages of a diff, probes of a search. */
  momentLeaseMs: 600_000,
  momentLeasesMax: 4096,
  /** Entries of the segment being written that are remembered for questions about history (80 B each). */
  rememberedEntriesMax: 100_000,
  /** An answer of a diff ends after so many steps: each is up to 1 GiB of a volume of which that many leaves (2 MiB) were
   *  compared. A step for which a leaf was made counts four times. */
  diffStepsPerCall: 256,
  diffLeavesPerStep: 2,
  /** Extents of one page of a diff. */
  diffExtentsMax: 65_536,
  /** Buckets of a rate of change, and quiet gaps that are told. */
  rateBucketsMax: 4096,
  quietGapsMax: 16,
  /** How often it is looked whether the log is durable up to a moment that was asked for. */
  settlePollMs: 1,
  /** Entries of an index run that the keeper merges before it looks for other work: about 10 ms. */
  runEntriesPerStep: 20_000,
  /** Bytes of a pack that the keeper copies or reads back before it looks for other work: about 5 ms. */
  packStepBytes: 4 * 2 ** 20,
  /** RAM of tables and blocks of index runs, and of the indexes of segments that no run covers yet. Filling a leaf asks the
   *  tables of all runs, so they should fit: about 10 MiB for each TiB of log that was written in pieces of 4 KiB. */
  runTableBytes: 128 * 2 ** 20,
  runBlockBytes: 16 * 2 ** 20,
  segmentIndexBytes: 32 * 2 ** 20,
  runFilesOpenMax: 64,
  /** Leaves of maps looked up off the main thread at once: the reads of data share the disk's thread pool with them. */
  leafLookupsMax: 16,
  /** One answer about extents: so many leaves made for it (2 MiB of a volume each, about 50 us), and pages (2 GiB) looked at. */
  extentLeavesMade: 32,
  extentPagesLooked: 16,
  /** How often it is looked whether maps take more memory than they may, and what they keep of it then. */
  mapBudgetCheckMs: 100,
  mapBudgetKeptShare: 0.9,
  /** Warm-up of maps after opening: so many leaves, or `sliceMs`, then a pause. */
  warmUpLeavesPerSlice: 64,
  warmUpPauseMs: 8,
  /** Names of a folder that are looked at before it is asked whether something else is due: about 0.3 ms. */
  namesPerStep: 500,
  /** Milliseconds that one slice of background work may hold the main thread. */
  sliceMs: 2,
  /** A turn between two slices that took longer served somebody: the next slice comes after a pause then. */
  sliceGapMs: 0.1,
  slicePauseMs: 2,
} as const;

export const volumeSizeUnit = slotSizeBytes;
/** Names of volumes and snapshots. */
export const namePattern = /^[A-Za-z0-9._-]{1,128}$/;
