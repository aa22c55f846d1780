/** What the keeper does about packs: makes them in steps, removes files that nobody reads any more, reads a pack's table. */
import { DiskError } from '../../base/ports.ts';
import { FormatError } from '../format/format-error.ts';
import { limits } from '../limits.ts';
import { segmentPath } from '../log/segment-path.ts';
import { mediumWindowBytes } from '../scrub/medium-file.ts';
import { finish } from '../steps.ts';
import { PackBuilder, type PackBuilderOptions } from './pack-builder.ts';
import { readPackFrom } from './pack-file.ts';
import { packPath } from './pack-path.ts';
import type { MadePack, PackPlan } from './pack-plan.ts';

/** So often packs that the disk did not give are asked for again. */
const readsAgainMax = 8;

export class PackKeeping {
  readonly #options: PackBuilderOptions;
  readonly #builder: PackBuilder;
  #window: Uint8Array | undefined;
  #areLoaded = false;
  #readsAgainLeft = readsAgainMax;

  constructor(options: PackBuilderOptions) {
    this.#options = options;
    this.#builder = new PackBuilder(options);
  }

  /**
   * Before each job: finds out which packs there are. One that cannot be read now is not given up: until it is there, whoever
   * needs a segment in it gets an error.
   */
  find(): void {
    const { containers } = this.#options;
    try {
      if (!this.#areLoaded) {
        finish(containers.load());
        this.#areLoaded = true;
      } else if (this.#readsAgainLeft > 0) {
        this.#readsAgainLeft -= 1;
        if (containers.readAgain()) this.#readsAgainLeft = 0;
      }
    } catch (thrown) {
      if (!(thrown instanceof DiskError) && !(thrown instanceof FormatError)) throw thrown;
    }
  }

  close(): void {
    this.#builder.abandon();
  }

  /** One step towards a pack; undefined = not done yet. Throws DiskError, FormatError. */
  step(plan: PackPlan | undefined): MadePack | undefined {
    return this.#builder.step(plan, limits.packStepBytes);
  }

  /** Removes files in which no segment lies any more: of segments, and packs. Throws DiskError. */
  remove(segIds: readonly number[], packIds: readonly number[]): void {
    const { disk, containers } = this.#options;
    for (const segId of segIds) {
      if (containers.find(segId) !== undefined) disk.remove(segmentPath(segId));
    }
    for (const packId of packIds) {
      if (!containers.isSuperseded(packId)) continue;
      disk.remove(packPath(packId));
      containers.remove(packId);
    }
  }

  /** Reads what a pack says of itself from the medium. Throws DiskError, and FormatError when it is damaged. */
  verify(packId: number): void {
    const { disk, seeds } = this.#options;
    this.#window ??= new Uint8Array(disk.memory(mediumWindowBytes));
    readPackFrom({ disk, seeds, window: this.#window }, { path: packPath(packId), packId });
  }
}
