/**
 * Builds frames in the ring: takes mutations from the head of the queue as long as they fit, gives them positions, writes
 * their descriptors into the header and lists their staging pages.
 */
import { crc32c } from '../../base/crc32c.ts';
import { viewOf } from '../../base/fields.ts';
import { type CommitRing, frameHeaderBytesMax, frameInlineBytesMax } from '../commit-ring.ts';
import { descriptorsPerFrameMax, positionOf, slotSizeBytes } from '../format/address.ts';
import {
  blockCrcOffset,
  descriptorBytes,
  descriptorLayout,
  encodeFrameShape,
  frameFixedBytes,
  frameSlotsMax,
  headerBlocksFor,
  inlineAux,
  inlineOffset,
  RecordType,
} from '../format/frame.ts';
import { ticksPerMs } from './hybrid-clock.ts';
import type { DataPart, Mutation } from './mutation.ts';

/** timeDelta is 16 bits: a frame spans at most 655 ms. */
const timeDeltaMax = 65_535;

export interface FramePlan {
  count: number;
  descriptors: number;
  dataBlocks: number;
  inlineBytes: number;
  headerBlocks: number;
}

/** How many of `queue[from..]` go into the next frame of at most `room` slots, and its shape. `count` 0 = not even one fits. */
export function planFrame(queue: readonly Mutation[], from: number, room: number): FramePlan {
  const plan = { count: 0, descriptors: 0, dataBlocks: 0, inlineBytes: 0, headerBlocks: 0 };
  const firstTicks = queue[from]?.ticks ?? 0;
  for (let index = from; index < queue.length; index += 1) {
    const mutation = queue[index];
    if (mutation === undefined) break;
    // Catalogue records open a frame; data may follow them in it.
    if (mutation.records !== undefined && plan.count > 0) break;
    const frameStart = Math.floor(firstTicks / ticksPerMs) * ticksPerMs;
    if (mutation.ticks - frameStart > timeDeltaMax && plan.count > 0) break;
    const descriptors = plan.descriptors + mutation.descriptorCount;
    const dataBlocks = plan.dataBlocks + mutation.dataBlocks;
    const inlineBytes = plan.inlineBytes + mutation.inlineBytes;
    const headerBlocks = headerBlocksFor(descriptors, dataBlocks, inlineBytes);
    const fits =
      descriptors <= descriptorsPerFrameMax &&
      headerBlocks + dataBlocks <= Math.min(room, frameSlotsMax) &&
      inlineBytes <= frameInlineBytesMax &&
      headerBlocks * slotSizeBytes <= frameHeaderBytesMax;
    if (!fits) break;
    plan.count += 1;
    plan.descriptors = descriptors;
    plan.dataBlocks = dataBlocks;
    plan.inlineBytes = inlineBytes;
    plan.headerBlocks = headerBlocks;
  }
  return plan;
}

export interface FramePlace {
  readonly slot: number;
  readonly address: number;
  readonly epoch: number;
  readonly hlcMs: number;
  readonly hlcCounter: number;
}

/**
 * Fills ring slot `place.slot` with the planned frame; sets position and address of each mutation.
 * Returns the number of staging pieces.
 */
export function buildFrame(
  ring: CommitRing,
  place: FramePlace,
  plan: FramePlan,
  mutations: readonly Mutation[],
): number {
  const header = ring.frameHeaders[place.slot];
  const pieces = ring.pieces[place.slot];
  if (header === undefined || pieces === undefined) return 0;
  const view = viewOf(header);
  encodeFrameShape(view, 0, { ...plan, ...place });
  const state: BuildState = {
    header,
    view,
    pieces,
    descriptor: 0,
    dataSlot: 0,
    inline: 0,
    inlineStart: inlineOffset(plan.descriptors, plan.dataBlocks),
    pieceCount: 0,
    baseTicks: place.hlcMs * ticksPerMs,
  };
  const dataStart = place.address + plan.headerBlocks;
  for (const mutation of mutations) {
    mutation.position = positionOf(place.address, state.descriptor);
    if (mutation.parts !== undefined) {
      writePartDescriptors(state, mutation, mutation.parts);
    } else if (mutation.records === undefined) {
      mutation.address = mutation.dataBlocks === 0 ? 0 : dataStart + state.dataSlot;
      writeDataDescriptor(state, mutation);
    } else {
      writeCatalogueDescriptors(state, mutation);
    }
  }
  const used = blockCrcOffset(plan.descriptors) + plan.dataBlocks * 4 + plan.inlineBytes;
  header.fill(0, used, plan.headerBlocks * slotSizeBytes);
  return state.pieceCount;
}

interface BuildState {
  readonly header: Uint8Array;
  readonly view: DataView;
  readonly pieces: Int32Array;
  descriptor: number;
  dataSlot: number;
  inline: number;
  readonly inlineStart: number;
  pieceCount: number;
  readonly baseTicks: number;
}

function writeDataDescriptor(state: BuildState, mutation: Mutation): void {
  const { view } = state;
  const at = frameFixedBytes + state.descriptor * descriptorBytes;
  const isWrite = mutation.type === RecordType.write;
  descriptorLayout.line.set(view, at, mutation.line);
  descriptorLayout.type.set(view, at, mutation.type);
  descriptorLayout.flags.set(view, at, mutation.flags);
  descriptorLayout.nBlocks.set(view, at, isWrite ? mutation.blockCount : 0);
  descriptorLayout.lba.set(view, at, mutation.lba);
  descriptorLayout.aux.set(view, at, isWrite ? 0 : mutation.blockCount);
  descriptorLayout.dataSlot.set(view, at, isWrite ? state.dataSlot : 0);
  descriptorLayout.timeDelta.set(view, at, timeDelta(state, mutation));
  descriptorLayout.writer.set(view, at, mutation.writer);
  descriptorLayout.payloadCrc.set(view, at, 0);
  state.descriptor += 1;
  if (isWrite) {
    listPages(state, mutation);
    state.dataSlot += mutation.blockCount;
  }
}

/** CLONE, ZERO and TRIM records that share a frame. */
function writePartDescriptors(
  state: BuildState,
  mutation: Mutation,
  parts: readonly DataPart[],
): void {
  const { view } = state;
  for (const part of parts) {
    const at = frameFixedBytes + state.descriptor * descriptorBytes;
    const isClone = part.type === RecordType.clone;
    descriptorLayout.line.set(view, at, mutation.line);
    descriptorLayout.type.set(view, at, part.type);
    descriptorLayout.flags.set(view, at, part.flags);
    descriptorLayout.nBlocks.set(view, at, isClone ? part.blockCount : 0);
    descriptorLayout.lba.set(view, at, part.lba);
    descriptorLayout.aux.set(view, at, isClone ? part.address : part.blockCount);
    descriptorLayout.dataSlot.set(view, at, 0);
    descriptorLayout.timeDelta.set(view, at, timeDelta(state, mutation));
    descriptorLayout.writer.set(view, at, mutation.writer);
    descriptorLayout.payloadCrc.set(view, at, 0);
    state.descriptor += 1;
  }
}

/** Staging pages of a WRITE, neighbours joined. */
function listPages(state: BuildState, mutation: Mutation): void {
  const { pieces } = state;
  let count = state.pieceCount;
  let expected = -1;
  for (let index = 0; index < mutation.blockCount; index += 1) {
    const offset = mutation.payload?.pageOffset(mutation.firstPage + index) ?? 0;
    if (offset === expected) {
      pieces[count * 2 - 1] = (pieces[count * 2 - 1] ?? 0) + slotSizeBytes;
    } else {
      pieces[count * 2] = offset;
      pieces[count * 2 + 1] = slotSizeBytes;
      count += 1;
    }
    expected = offset + slotSizeBytes;
  }
  state.pieceCount = count;
}

function writeCatalogueDescriptors(state: BuildState, mutation: Mutation): void {
  const { view } = state;
  for (const record of mutation.records ?? []) {
    const at = frameFixedBytes + state.descriptor * descriptorBytes;
    descriptorLayout.line.set(view, at, record.line);
    descriptorLayout.type.set(view, at, record.type);
    descriptorLayout.flags.set(view, at, 0);
    descriptorLayout.nBlocks.set(view, at, 0);
    descriptorLayout.lba.set(view, at, 0);
    descriptorLayout.aux.set(view, at, inlineAux(state.inline, record.payload.length));
    descriptorLayout.dataSlot.set(view, at, 0);
    descriptorLayout.timeDelta.set(view, at, timeDelta(state, mutation));
    descriptorLayout.writer.set(view, at, mutation.writer);
    descriptorLayout.payloadCrc.set(view, at, crc32c(record.payload, 0));
    state.header.set(record.payload, state.inlineStart + state.inline);
    state.inline += record.payload.length;
    state.descriptor += 1;
  }
}

function timeDelta(state: BuildState, mutation: Mutation): number {
  return Math.max(0, Math.min(timeDeltaMax, mutation.ticks - state.baseTicks));
}
