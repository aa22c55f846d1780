/** Every bound of the SCSI room: what a host may ask for, and what it can make the server hold. */

/** Logical block: what every host understands. Physical blocks are 4 KiB, as in the store. */
export const logicalBlockBytes = 512;
/** log2 of logical blocks per physical block, for READ CAPACITY(16). */
export const physicalExponent = 3;

/** COMPARE AND WRITE: its NUMBER OF LOGICAL BLOCKS has one byte. */
export const compareAndWriteBlocksMax = 255;
/** Announced in VPD B0h; longer transfers are served as well. */
export const transferBlocksAdvertised = 65_536;
/** 1 MiB: what the store writes at once. */
export const transferBlocksOptimal = 2048;
/** 4 KiB: shorter or ragged transfers cost a read. */
export const transferGranularityBlocks = 8;
/** One UNMAP stays short, and so do the commands that wait behind it: 512 MiB, the most that libiscsi takes for sane. */
export const unmapBlocksMax = 1_048_576;
/** Below 2^31, because a well-known tester reads the field as signed. */
export const unmapDescriptorsMax = 256;
/** One WRITE SAME of a pattern is real writing: 128 MiB stay below a second. */
export const writeSameBlocksMax = 262_144;
/** Descriptors of one GET LBA STATUS; the host asks again for the rest. */
export const lbaStatusDescriptorsMax = 256;
/** What one PRE-FETCH reads ahead; longer ones are answered as not fitting into the cache. */
export const prefetchBytesMax = 8 << 20;
/** Threshold sets of logical block provisioning are 2^exponent blocks: 1 MiB. */
export const thresholdExponent = 11;

/** Longest parameter list that is taken. */
export const parameterListMaxBytes = 65_536;
/** Kinds of unit attention that one nexus can have pending for one logical unit. */
export const unitAttentionsMax = 16;
/** Commands of one logical unit that are not answered yet; one more gets TASK SET FULL. */
export const taskSetMax = 8192;
/** Data that commands behind an ORDERED one have sent already, for one logical unit; beyond it they get TASK SET FULL. */
export const dormantBytesMax = 8 << 20;
/** Parameter lists and data of COMPARE AND WRITE of one nexus; beyond it commands get TASK SET FULL. */
export const claimedBytesMax = 32 << 20;
/** The same of all nexuses together. */
export const claimedTotalMaxBytes = 512 << 20;
/** VERIFY and its kin compare this much at a time. */
export const scratchBytes = 256 * 1024;
/** Buffers of that size for the whole engine; commands wait for one in order. */
export const scratchBuffersMax = 32;
/** VERIFY without data and its kin read this much before others get their turn. */
export const scanBytesPerTurn = 4 << 20;
/** UNMAP and WRITE SAME: requests that one command has at the device at once. */
export const requestsPerCommandMax = 8;

/** Registrations of one logical unit: 64 hosts with 8 paths each. */
export const registrantsMax = 512;
/** What the persistent reservation may take of LU_STATE. */
export const reservationPartMaxBytes = 48 * 1024;

/** EXTENDED COPY: what RECEIVE COPY RESULTS announces. */
export const copyTargetsMax = 8;
export const copySegmentsMax = 8;
/** One segment by clone takes milliseconds; by copying 60 ms. */
export const copySegmentMaxBytes = 16 << 20;
/** Copies that run at once, each with one buffer; others wait. */
export const copiesMax = 8;
/** Shared by all copies that move data, so that hosts' own requests keep the disk. */
export const copyBytesPerSecond = 512 << 20;
/** One request of a clone: short enough that a COMPARE AND WRITE to its range does not wait long. */
export const clonePieceBytes = 4 << 20;
/** Results of finished copies that one nexus may still ask for. */
export const copyResultsMax = 16;

/** How long hosts shall wait for a target port group in transition. */
export const transitionSeconds = 30;
