/** What outlives a process: the disk and the time. */
import type { SeededRandom } from './random.ts';
import type { LossStyle } from './virtual-file.ts';
import { VirtualImage } from './virtual-image.ts';

export class Machine {
  image = new VirtualImage();
  /** Virtual milliseconds since the machine was made. */
  nowMs = 0;
  /** What has been added to the wall clock by hand. */
  wallOffsetMs = 0;

  copy(): Machine {
    const copy = new Machine();
    copy.image = this.image.copy();
    copy.nowMs = this.nowMs;
    copy.wallOffsetMs = this.wallOffsetMs;
    return copy;
  }

  lose(random: SeededRandom, style: LossStyle): void {
    this.image.lose(random, style);
  }
}
