/** What the API may ask about the past of volumes. */
import type {
  Changes,
  ChangesQuery,
  Diff,
  DiffQuery,
  Rate,
  RateQuery,
} from '../contract/history.ts';
import type { Operation } from '../contract/operation.ts';
import { DIFF_EXTENTS, RATE_BUCKETS, RATE_GAPS } from './limits.ts';
import type { Operations } from './operations.ts';
import type { EngineAccess } from './pool-control.ts';

/** Linear in the log: how long is the operator's choice. */
const noLimit = { timeoutMs: Infinity } as const;

export class HistoryControl {
  readonly #engine: EngineAccess;
  readonly #operations: Operations;

  constructor(engine: EngineAccess, operations: Operations) {
    this.#engine = engine;
    this.#operations = operations;
  }

  /** Makes the map of a moment: what is opened there next is there at once. */
  momentOpen(volume: string, at: string): Operation {
    return this.#operations.start('moment-open', async (onProgress) => {
      const options = { ...noLimit, onProgress };
      return await this.#engine.call('momentOpen', { volume, at }, options);
    });
  }

  async diff(name: string, { from, to, offset, limit }: DiffQuery): Promise<Diff> {
    const page = { offset: Number(offset ?? 0), extentsMax: Number(limit ?? DIFF_EXTENTS) };
    const found = await this.#engine.call('volumeDiff', { name, from, to, ...page }, noLimit);
    return { ...found, extents: [...found.extents] };
  }

  async changes(name: string, query: ChangesQuery): Promise<Changes> {
    return await this.#engine.call('volumeChanges', { name, ...query }, noLimit);
  }

  async rate(name: string, { from, to, buckets, gaps }: RateQuery): Promise<Rate> {
    const params = {
      name,
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      bucketCount: Number(buckets ?? RATE_BUCKETS),
      gapsMax: Number(gaps ?? RATE_GAPS),
    };
    const found = await this.#engine.call('volumeRate', params, noLimit);
    return { ...found, buckets: [...found.buckets], gaps: [...found.gaps] };
  }
}
