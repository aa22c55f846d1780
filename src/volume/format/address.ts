/**
 * Addresses and positions, the two numbers that everything in the log is named by.
 *
 *     address  = segId * 8192 + slot              where 4 KiB of bytes lie; never changes, never reused
 *     position = frameAddress * 2048 + index      the order of the log: index of a descriptor in its frame
 *
 * Both are exact in a double: segIds stay below 2^29 (16 EiB of log), so addresses stay below 2^42 and positions below 2^53.
 * Visibility, sorting and every [birth, death) use positions, never addresses.
 */

export const slotSizeBytes = 4096;
export const slotsPerSegmentMax = 8192;
export const descriptorsPerFrameMax = 2048;

export function addressOf(segId: number, slot: number): number {
  return segId * slotsPerSegmentMax + slot;
}

export function segIdOf(address: number): number {
  return Math.floor(address / slotsPerSegmentMax);
}

export function slotOf(address: number): number {
  // Addresses do not fit into 32 bits: the remainder of a double takes ten times as long.
  return address - segIdOf(address) * slotsPerSegmentMax;
}

export function positionOf(frameAddress: number, descriptorIndex: number): number {
  return frameAddress * descriptorsPerFrameMax + descriptorIndex;
}

export function frameAddressOf(position: number): number {
  return Math.floor(position / descriptorsPerFrameMax);
}

/** "segment 12 slot 7" for people. */
export function describeAddress(address: number): string {
  return `segment ${segIdOf(address)} slot ${slotOf(address)}`;
}
