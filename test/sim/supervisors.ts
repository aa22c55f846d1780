/** What watches the disk calls of a simulated process: recorders of crash points and makers of faults. */

import type { SeededRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';
import type { DiskCall, DiskFault, DiskSupervisor } from './virtual-disk.ts';
import { isMutation } from './virtual-disk.ts';

/** Watches without touching anything. */
export class QuietSupervisor implements DiskSupervisor {
  readonly random: SeededRandom;
  readonly #scheduler: Scheduler;

  constructor(random: SeededRandom, scheduler: Scheduler) {
    this.random = random;
    this.#scheduler = scheduler;
  }

  before(_call: DiskCall): DiskFault | undefined {
    return undefined;
  }

  during(_call: DiskCall): void {}

  later(action: () => void): void {
    this.#scheduler.post('pool', action);
  }
}

/**
 * Calls `onPoint` before every disk call that changes what a crash leaves behind, and in the middle of every write of
 * several pages. A crash at any other instant leaves the same disk as a crash at the next of these points.
 */
export class PointSupervisor extends QuietSupervisor {
  readonly #onPoint: (what: string) => void;

  constructor(random: SeededRandom, scheduler: Scheduler, onPoint: (what: string) => void) {
    super(random, scheduler);
    this.#onPoint = onPoint;
  }

  override before(call: DiskCall): DiskFault | undefined {
    if (isMutation(call)) this.#onPoint(`before ${describeCall(call)}`);
    return undefined;
  }

  override during(call: DiskCall): void {
    this.#onPoint(`in the middle of ${describeCall(call)}`);
  }
}

/** Does to each call what `choose` says. */
export class FaultSupervisor extends QuietSupervisor {
  readonly #choose: (call: DiskCall) => DiskFault | undefined;

  constructor(
    random: SeededRandom,
    scheduler: Scheduler,
    choose: (call: DiskCall) => DiskFault | undefined,
  ) {
    super(random, scheduler);
    this.#choose = choose;
  }

  override before(call: DiskCall): DiskFault | undefined {
    return this.#choose(call);
  }
}

/** For traces. */
function describeCall(call: DiskCall): string {
  const range = call.length > 0 ? ` [${call.position}, +${call.length})` : '';
  return `call ${call.number}: ${call.kind} ${call.path}${range}`;
}
