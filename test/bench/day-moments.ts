/** Looks into the past of volumes and compares it with their journals: snapshots, moments by time or position, differences. */
import { formatMomentTime } from '../../src/base/moment.ts';
import type { DayAppliance } from './day-appliance.ts';
import type { DayTime } from './day-clock.ts';
import { NbdSession } from './day-nbd.ts';
import { blockBytes, fillBlocks, type Journal, newStamps, type Span } from './day-oracle.ts';

const pieceBlocks = 256;
const extentsMax = 4096;

/** When it was by the machine what was `wallMs` by the appliance. */
export function machineMs({ originMs, originWallMs, speed }: DayTime, wallMs: number): number {
  return originMs + (wallMs - originWallMs) / speed;
}

/** When it is by the appliance. */
export function applianceMs({ originMs, originWallMs, speed }: DayTime, nowMs: number): number {
  return originWallMs + (nowMs - originMs) * speed;
}

/** Reads a whole export, piece by piece. */
export async function* readExport(
  socketPath: string,
  exportName: string,
  blockCount: number,
): AsyncGenerator<{ readonly first: number; readonly data: Buffer }> {
  const session = await NbdSession.open(socketPath, exportName);
  try {
    for (let first = 0; first < blockCount; first += pieceBlocks) {
      const count = Math.min(pieceBlocks, blockCount - first);
      yield { first, data: await session.read(first * blockBytes, count * blockBytes) };
    }
  } finally {
    session.close();
  }
}

/** Reads a whole export and compares it; undefined = nothing is wrong. */
export async function faultOfExport(
  socketPath: string,
  exportName: string,
  { journal, span }: { readonly journal: Journal; readonly span: Span },
): Promise<string | undefined> {
  const state = journal.state(span);
  for await (const { first, data } of readExport(socketPath, exportName, journal.blockCount)) {
    const fault = journal.faultIn(data, first, { span, state });
    if (fault !== undefined) return `${exportName}: ${fault}`;
  }
  return undefined;
}

/** A view of a moment: what it shows in some places, and that it keeps what is written to it. */
export async function faultOfView(
  appliance: DayAppliance,
  view: string,
  { journal, span }: { readonly journal: Journal; readonly span: Span },
): Promise<string | undefined> {
  const session = await NbdSession.open(appliance.nbdSocket, view);
  try {
    const state = journal.state(span);
    for (let look = 0; look < 4; look += 1) {
      const first = Math.floor(Math.random() * (journal.blockCount - 16));
      const data = await session.read(first * blockBytes, 16 * blockBytes);
      const fault = journal.faultIn(data, first, { span, state });
      if (fault !== undefined) return `${view}: ${fault}`;
    }
    const payload = Buffer.alloc(4 * blockBytes);
    fillBlocks(payload, newStamps(4));
    await session.write(0, payload);
    const back = await session.read(0, payload.length);
    return back.equals(payload) ? undefined : `${view}: what was written does not come back`;
  } finally {
    session.close();
  }
}

export interface Moment {
  readonly at: string;
  readonly span: Span;
}

/** Whether the differences that are told have all blocks that differ, and none that nobody touched. */
export async function faultOfDiff(
  appliance: DayAppliance,
  { name, journal }: { readonly name: string; readonly journal: Journal },
  from: Moment,
  to: Moment,
): Promise<string | undefined> {
  const told = new Uint8Array(journal.blockCount);
  let offset: number | undefined = 0;
  while (offset !== undefined) {
    const page: DiffPage = await appliance.call('volumeDiff', {
      name,
      from: from.at,
      to: to.at,
      offset,
      extentsMax,
    });
    for (const { offset: at, length } of page.extents) {
      told.fill(1, at / blockBytes, (at + length) / blockBytes);
    }
    offset = page.nextOffset;
  }
  const touched = journal.touched(from.span, to.span);
  const before = journal.state(from.span);
  const after = journal.state(to.span);
  for (let block = 0; block < journal.blockCount; block += 1) {
    const where = `${name} from ${from.at} to ${to.at}: block ${block}`;
    if (told[block] === 1 && touched[block] === 0) return `${where} is told, nobody touched it`;
    const inDoubt = journal.isInDoubt(block, from.span) || journal.isInDoubt(block, to.span);
    if (told[block] === 0 && before[block] !== after[block] && !inDoubt) {
      return `${where} differs and is not told`;
    }
  }
  return undefined;
}

interface DiffPage {
  readonly extents: readonly { readonly offset: number; readonly length: number }[];
  readonly nextOffset?: number;
}

/** A time of the appliance as a moment, with what the volume may have held then. */
export function momentOf(journal: Journal, time: DayTime, wallMs: number): Moment {
  return { at: formatMomentTime(wallMs), span: journal.at(machineMs(time, wallMs)) };
}
