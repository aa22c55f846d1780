/** Control methods about past moments: each is a thin step from the protocol to the pool's history. */
import type { Outcome } from '../base/errors.ts';
import { parseMoment } from '../base/moment.ts';
import type { Changes, Diff } from '../volume/history.ts';
import type { Pool } from '../volume/pool.ts';
import type { MomentInfo } from './protocol.ts';
import type { EngineHandlers } from './rpc.ts';

export type HistoryMethod = 'momentOpen' | 'volumeDiff' | 'volumeChanges' | 'volumeRate';

const ticksPerMs = 100;

/** A time of the store, in ticks of 10 us, as milliseconds. */
export function timeOfTicks(ticks: number): number {
  return ticks / ticksPerMs;
}

/** The outcome of a call to the pool as a promise. */
export async function ask<T>(call: (done: (outcome: Outcome<T>) => void) => void): Promise<T> {
  return await new Promise((resolve, reject) => {
    call((outcome) => {
      if (outcome.ok) resolve(outcome.value);
      else reject(outcome.error);
    });
  });
}

/** The moment by a name that stays right while time goes on; "now" stays "now". Rejects when there is no such moment. */
export async function fixedMoment(pool: Pool, volume: string, at: string): Promise<string> {
  if (parseMoment(at)?.kind === 'now') return at;
  const moment = await ask<Diff['from']>((done) => {
    pool.history.resolve(volume, at, done);
  });
  return moment.label;
}

export function historyHandlers(pool: Pool): Pick<EngineHandlers, HistoryMethod> {
  const { history } = pool;
  return {
    momentOpen: async ({ volume, at }) =>
      momentInfo(
        await ask<Diff['from']>((done) => {
          history.prepare(volume, at, done);
        }),
      ),
    volumeDiff: async ({ name: volume, ...options }) => {
      const { from, to, extents, nextOffset } = await ask<Diff>((done) => {
        history.diff({ volume, ...options }, done);
      });
      const page = { from: momentInfo(from), to: momentInfo(to), extents };
      return nextOffset === undefined ? page : { ...page, nextOffset };
    },
    volumeChanges: async ({ name: volume, from, to }, progress) => {
      const found = await ask<Changes>((done) => {
        history.changes({ volume, from, to }, progress, done);
      });
      const { changeCount, middle } = found;
      const ends = { from: momentInfo(found.from), to: momentInfo(found.to), changeCount };
      return middle === undefined ? ends : { ...ends, middle };
    },
    volumeRate: async ({ name: volume, from, to, bucketCount, gapsMax }, progress) =>
      await ask((done) => {
        history.rate({ volume, from, to, bucketCount, gapsMax }, progress, done);
      }),
  };
}

function momentInfo({ label, moment, timeMs }: Diff['from']): MomentInfo {
  return {
    at: label,
    position: moment.cut,
    timeMs,
    line: moment.line,
    sizeBytes: moment.sizeBytes,
  };
}
