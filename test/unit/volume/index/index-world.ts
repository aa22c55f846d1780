/** Random histories of a log with index runs in a folder, and what replay says of them. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import * as fc from 'fast-check';
import { SystemDisk } from '../../../../src/host/disk.ts';
import { Catalogue } from '../../../../src/volume/catalogue/catalogue.ts';
import type { CatalogueRecord } from '../../../../src/volume/catalogue/records.ts';
import {
  addressOf,
  frameAddressOf,
  positionOf,
  segIdOf,
} from '../../../../src/volume/format/address.ts';
import { Seeds } from '../../../../src/volume/format/checksum.ts';
import type { FooterEntry } from '../../../../src/volume/format/footer.ts';
import { flagNoHole, RecordType } from '../../../../src/volume/format/frame.ts';
import { LogIndex } from '../../../../src/volume/index/log-index.ts';
import { RunCursor, RunMerge } from '../../../../src/volume/index/run-merge.ts';
import { runPath } from '../../../../src/volume/index/run-path.ts';
import { RunReader } from '../../../../src/volume/index/run-reader.ts';
import { RunSegments } from '../../../../src/volume/index/run-segments.ts';
import { RunSet } from '../../../../src/volume/index/run-set.ts';
import { RunWriter } from '../../../../src/volume/index/run-writer.ts';
import { SegmentIndex } from '../../../../src/volume/index/segment-index.ts';
import { LeafStore } from '../../../../src/volume/map/leaf-store.ts';
import { MapReplay } from '../../../../src/volume/recovery/replay.ts';

const blockBytes = 4096;
const seeds = new Seeds(new Uint8Array(16).fill(9));
const fanOut = 2;
const framesPerSegment = 8;
const firstTicks = 1_700_000_000_000;

export type Step =
  | {
      readonly kind: 'data';
      readonly line: number;
      readonly type: number;
      readonly flags: number;
      readonly at: number;
      readonly count: number;
    }
  | { readonly kind: 'create' | 'resize'; readonly line: number; readonly blocks: number }
  | { readonly kind: 'view' | 'revert'; readonly line: number; readonly back: number };

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('data' as const),
      line: fc.nat(),
      type: fc.constantFrom(1, 1, 1, 2, 3, 4),
      flags: fc.constantFrom(0, flagNoHole),
      at: fc.nat(),
      count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 4000, max: 40_000 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('create' as const, 'resize' as const),
      line: fc.nat(),
      blocks: fc.integer({ min: 1, max: 20_000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('view' as const, 'revert' as const),
      line: fc.nat(),
      back: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
);

/** A log of one record a frame. */
class History {
  readonly catalogue = new Catalogue();
  readonly records: FooterEntry[] = [];
  readonly #volumes: { readonly uuid: Uint8Array; line: number }[] = [];
  #frames = 0;

  #place(): number {
    const segId = 1 + Math.floor(this.#frames / framesPerSegment);
    const slot = 1 + (this.#frames % framesPerSegment) * 1000;
    this.#frames += 1;
    return addressOf(segId, slot);
  }

  #catalogueRecord(make: (position: number) => CatalogueRecord): void {
    const position = positionOf(this.#place(), 0);
    this.catalogue.apply(make(position), position);
  }

  get end(): number {
    return positionOf(addressOf(2 + Math.floor(this.#frames / framesPerSegment), 0), 0);
  }

  apply(next: Step): void {
    const volume = this.#volumes[next.line % Math.max(1, this.#volumes.length)];
    if (volume === undefined || next.kind === 'create')
      this.#create('blocks' in next ? next.blocks : 12_000);
    else if (next.kind === 'data') this.#data(volume.line, next);
    else if (next.kind === 'resize') {
      this.#catalogueRecord(() => ({
        kind: 'vol-resize',
        line: volume.line,
        uuid: volume.uuid,
        sizeBytes: next.blocks * blockBytes,
      }));
    } else if ('back' in next) this.#fork(volume, next);
  }

  #create(blocks: number): void {
    const uuid = new Uint8Array(16).fill(this.#volumes.length + 1);
    const line = this.catalogue.takeLine();
    this.#catalogueRecord(() => ({
      kind: 'vol-create',
      line,
      uuid,
      name: `v${line}`,
      sizeBytes: blocks * blockBytes,
      naa: uuid,
      serial: '',
      ack: 0,
      createdMs: 0,
    }));
    this.#volumes.push({ uuid, line });
  }

  #data(line: number, { type, flags, at, count }: Extract<Step, { kind: 'data' }>): void {
    const state = this.catalogue.line(line);
    const blocks = (state.resizes.at(-1)?.sizeBytes ?? state.sizeBytes) / blockBytes;
    // Long ones begin near the start, so that they cover whole groups of leaves.
    const lba = count > 4000 ? at % 50 : at % blocks;
    const most = type === RecordType.write ? 900 : 60_000;
    const blockCount = Math.min(
      count,
      blocks - lba,
      type === RecordType.write || type === RecordType.clone ? most : blocks,
    );
    const frame = this.#place();
    const shared = Math.max(1, frame - 70_000 + (count % 1000));
    const address = type === RecordType.write ? frame + 1 : type === RecordType.clone ? shared : 0;
    this.records.push({
      position: positionOf(frame, 0),
      address,
      lba,
      blockCount,
      line,
      timeDelta: 3,
      type,
      flags: type === RecordType.zero ? flags : 0,
      writer: 0,
    });
  }

  #fork(volume: { uuid: Uint8Array; line: number }, next: Extract<Step, { back: number }>): void {
    const parent = this.catalogue.line(volume.line);
    const now = positionOf(
      addressOf(
        1 + Math.floor(this.#frames / framesPerSegment),
        1 + (this.#frames % framesPerSegment) * 1000,
      ),
      0,
    );
    const anywhere = Math.floor(
      parent.createdPosition + 1 + (now - parent.createdPosition - 1) * next.back,
    );
    const cut = this.nearby(anywhere, parent.createdPosition);
    const sizeBytes =
      parent.resizes.findLast(({ position }) => position < cut)?.sizeBytes ?? parent.sizeBytes;
    const line = this.catalogue.takeLine();
    const fork = {
      line,
      parentLine: volume.line,
      forkPosition: cut,
      sizeBytes,
      label: '',
      createdMs: 0,
    };
    if (next.kind === 'revert') {
      this.#catalogueRecord(() => ({ kind: 'revert', ...fork, uuid: volume.uuid, reason: 0 }));
      volume.line = line;
      return;
    }
    const uuid = new Uint8Array(16).fill(this.#volumes.length + 1);
    this.#catalogueRecord(() => ({
      kind: 'view',
      ...fork,
      uuid,
      name: `v${line}`,
      naa: uuid,
      serial: '',
      ack: 0,
      sourceUuid: volume.uuid,
    }));
    this.#volumes.push({ uuid, line });
  }

  /** Half of the time the position of the record at or behind this one. */
  nearby(position: number, above: number): number {
    const record = this.records.find((each) => each.position >= position);
    return record === undefined || position % 2 === 0 || record.position <= above
      ? position
      : record.position;
  }

  segment(segId: number): FooterEntry[] {
    return this.records.filter(({ position }) => segIdOf(frameAddressOf(position)) === segId);
  }
}

/** Writes all whole runs of the history into a folder, but those that `isMissing` picks. */
function buildRuns(
  history: History,
  disk: SystemDisk,
  isMissing: (index: number) => boolean,
): RunSet {
  const runs = new RunSet(fanOut);
  const lastSegId = segIdOf(frameAddressOf(history.end)) - 1;
  let index = 0;
  for (let level = 1; fanOut ** level <= lastSegId + 1; level += 1) {
    for (
      let firstSegId = 0;
      firstSegId + fanOut ** level <= lastSegId;
      firstSegId += fanOut ** level
    ) {
      const place = { level, firstSegId };
      const below = Array.from(
        { length: fanOut },
        (_, at) => firstSegId + (at * fanOut ** level) / fanOut,
      );
      const sources =
        level === 1
          ? below.map((segId) =>
              new SegmentIndex((visit) => {
                for (const record of history.segment(segId))
                  visit(record, firstTicks + (record.position % 1000));
              }).entries(),
            )
          : below.map(
              (at) =>
                new RunCursor(
                  disk.open(runPath({ level: level - 1, firstSegId: at }), { create: false }),
                  { level: level - 1, firstSegId: at },
                  seeds,
                ),
            );
      const file = disk.open(runPath(place), { create: true });
      const writer = new RunWriter(
        file,
        {
          ...place,
          fanOut,
          endSegId: firstSegId + fanOut ** level,
          segments: RunSegments.of([]),
          baseTicks: firstTicks,
        },
        seeds,
      );
      const merge = new RunMerge(sources, writer);
      while (!merge.step(7));
      writer.finish(new Uint8Array(16));
      file.close();
      runs.add(place);
    }
  }
  for (let level = 1; fanOut ** level <= lastSegId + 1; level += 1) {
    for (let firstSegId = 0; firstSegId <= lastSegId; firstSegId += fanOut ** level) {
      index += 1;
      if (runs.has({ level, firstSegId }) && isMissing(index)) runs.remove({ level, firstSegId });
    }
  }
  return runs;
}

function replayed(history: History, line: number, before: number) {
  const maps = new MapReplay(new LeafStore(), history.catalogue, [{ line, before }], undefined);
  for (const record of history.records) maps.apply(record);
  const made = maps.finish().get(line);
  if (made === undefined) throw new Error('no map');
  return made;
}

export interface Look {
  readonly line: number;
  readonly cut: number;
  readonly expected: ReturnType<typeof replayed>;
}

/** Lines at positions, and what replay says of them. */
export function looksAt(log: History, wanted: readonly (readonly [number, number])[]): Look[] {
  const lines = [...log.catalogue.lines()];
  return wanted.flatMap(([pick, share]) => {
    const line = lines[pick % lines.length];
    if (line === undefined) return [];
    const length = log.end - line.createdPosition;
    const anywhere = Math.floor(line.createdPosition + 1 + length * share);
    const cut = log.nearby(anywhere, line.createdPosition);
    return [{ line: line.id, cut, expected: replayed(log, line.id, cut) }];
  });
}

export interface World {
  readonly log: History;
  readonly disk: SystemDisk;
  readonly index: LogIndex;
  readonly reader: RunReader;
  readonly runs: RunSet;
  /** Runs that were found damaged. */
  readonly bad: readonly unknown[];
  /** What happens while a lookup waits for a segment. */
  readonly meanwhile: (() => void)[];
}

export function worldOf(
  folder: string,
  steps: readonly Step[],
  gaps: number,
  isRotten: boolean,
): World {
  const log = new History();
  for (const next of steps) log.apply(next);
  const disk = new SystemDisk(folder);
  disk.makeFolder('runs');
  const runs = buildRuns(log, disk, (at) => gaps > 0 && at % (gaps + 1) === 0);
  const bad: unknown[] = [];
  const meanwhile: (() => void)[] = [];
  if (isRotten && runs.has({ level: 1, firstSegId: 2 }))
    writeFileSync(path.join(folder, runPath({ level: 1, firstSegId: 2 })), 'rot');
  const reader = new RunReader({
    disk,
    seeds,
    isOurs: () => true,
    tableBytes: 4096,
    blockBytes: 8192,
    openFiles: 2,
  });
  const index = new LogIndex({
    catalogue: log.catalogue,
    runs,
    reader,
    records: {
      has: () => true,
      through: () => Infinity,
      visit: (segId, visit) => {
        for (const record of log.segment(segId)) visit(record, 0);
      },
      // Nothing is read for it.
      *fetch() {
        for (const action of meanwhile.splice(0)) action();
        yield* [];
      },
    },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    segmentIndexBytes: 100_000,
    lookupsMax: 2,
    onBadRun: (place) => {
      bad.push(place);
    },
  });
  return { log, disk, index, reader, runs, bad, meanwhile };
}
