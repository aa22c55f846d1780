/** What `bench day` looks at every few seconds. */
import type { DayAppliance } from './day-appliance.ts';
import type { EngineSample } from './day-engine.ts';
import type { LatencySummary } from './day-latency.ts';
import type { DayTotals } from './day-volumes.ts';

export interface DaySample {
  /** Since the load began. */
  readonly atS: number;
  readonly engine: EngineSample;
  readonly reads: LatencySummary;
  readonly writes: LatencySummary;
  /** Absent: the engine went away meanwhile. */
  readonly pool?: PoolSample;
}

export interface PoolSample {
  /** Of the capacity. */
  readonly fillShare: number;
  readonly segmentCount: number;
  readonly packCount: number;
  readonly runBytes: number;
  readonly mapBytes: number;
  readonly snapshotCount: number;
  readonly pinCount: number;
  readonly cleanerState: string;
  readonly pressure: string;
  /** By the cleaner, all engines together. */
  readonly copiedBytes: number;
  readonly reclaimedBytes: number;
  readonly throttledCount: number;
}

/** Counting the pins means listing all volumes: not each time. */
const pinsEvery = 10;

export class DaySampler {
  readonly samples: DaySample[] = [];
  readonly #totals: DayTotals;
  readonly #appliance: DayAppliance;
  readonly #startedMs = Date.now();
  #pinCount = 0;
  #looks = 0;
  /** Of the engines before, and of this one. */
  #earlier = { copiedBytes: 0, reclaimedBytes: 0 };
  #last = { copiedBytes: 0, reclaimedBytes: 0 };

  constructor(appliance: DayAppliance, totals: DayTotals) {
    this.#appliance = appliance;
    this.#totals = totals;
  }

  async take(engine: EngineSample): Promise<void> {
    const sample = {
      atS: (engine.timeMs - this.#startedMs) / 1000,
      engine,
      reads: this.#totals.reads.take(),
      writes: this.#totals.writes.take(),
    };
    // Whoever asks while the engine goes away learns nothing; that is a sample, too.
    const pool = await this.#pool().catch(() => undefined);
    this.samples.push(pool === undefined ? sample : { ...sample, pool });
  }

  async #pool(): Promise<PoolSample> {
    const status = await this.#appliance.call('poolStatus', {});
    if (this.#looks % pinsEvery === 0) {
      const volumes = await this.#appliance.call('volumeList', {});
      this.#pinCount = volumes.reduce((sum, { cdp }) => sum + cdp.pinCount, 0);
    }
    this.#looks += 1;
    const { cleaner, stored } = status;
    const { copiedBytes, reclaimedBytes } = cleaner;
    if (copiedBytes < this.#last.copiedBytes) {
      this.#earlier = {
        copiedBytes: this.#earlier.copiedBytes + this.#last.copiedBytes,
        reclaimedBytes: this.#earlier.reclaimedBytes + this.#last.reclaimedBytes,
      };
    }
    this.#last = { copiedBytes, reclaimedBytes };
    return {
      fillShare: status.usedBytes / status.effectiveCapacityBytes,
      segmentCount: status.segmentCount,
      packCount: cleaner.packCount,
      runBytes: stored.runBytes,
      mapBytes: status.mapBytes,
      snapshotCount: status.snapshotCount,
      pinCount: this.#pinCount,
      cleanerState: cleaner.state,
      pressure: cleaner.pressure,
      copiedBytes: this.#earlier.copiedBytes + copiedBytes,
      reclaimedBytes: this.#earlier.reclaimedBytes + reclaimedBytes,
      throttledCount: status.throttled.length,
    };
  }
}
