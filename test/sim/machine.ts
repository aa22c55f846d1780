/** What outlives a process: the disk and the time. */
import { ManifestStore } from './manifest-store.ts';
import type { SeededRandom } from './random.ts';
import type { LossStyle } from './virtual-file.ts';
import { VirtualImage } from './virtual-image.ts';

export class Machine {
  image = new VirtualImage();
  manifest = new ManifestStore();
  /** Virtual milliseconds since the machine was made. */
  nowMs = 0;
  /** What has been added to the wall clock by hand. */
  wallOffsetMs = 0;

  copy(): Machine {
    const copy = new Machine();
    copy.image = this.image.copy();
    copy.manifest = this.manifest.copy();
    copy.nowMs = this.nowMs;
    copy.wallOffsetMs = this.wallOffsetMs;
    return copy;
  }

  lose(random: SeededRandom, style: LossStyle): void {
    this.image.lose(random, style);
    this.manifest.lose(random);
  }
}
