/** The crash that ends a life of a random run, and those in the recoveries behind it. */
import type { StoreVariant } from './broken-stores.ts';
import { anyCrash, type Crash, crashed, describeCrash } from './crash.ts';
import type { Machine } from './machine.ts';
import type { SeededRandom } from './random.ts';
import { StoreProcess } from './store-process.ts';

export interface CrashesOptions {
  readonly random: SeededRandom;
  readonly variant: StoreVariant | undefined;
  readonly segmentSlots?: number;
  /** Crashes inside one recovery after another, at most. */
  readonly recoveriesMax: number;
  readonly onCrash: (what: string) => void;
}

export interface CrashesLeft {
  /** What the last crash left: no recovery of it was finished. */
  readonly machine: Machine;
  /** Not only the process died. */
  readonly isMachineLost: boolean;
  /** Recoveries that were crashed. */
  readonly recoveryCount: number;
}

const killShare = 0.35;
/** Changes of the disk until a recovery is crashed, at most. */
const pointsMax = 30;

/** Crashes the fork that was taken at `what`, then some recoveries. */
export function crashedRecoveries(
  fork: { readonly what: string; readonly machine: Machine },
  options: CrashesOptions,
): CrashesLeft {
  const { random } = options;
  const crash = anyCrash(random, killShare);
  options.onCrash(`crash ${fork.what}, ${describeCrash(crash)}`);
  let machine = crashed(fork.machine, crash);
  let isMachineLost = crash.kind === 'loss';
  const recoveryCount = random.below(options.recoveriesMax + 1);
  for (let count = 0; count < recoveryCount; count += 1) {
    const again = anyCrash(random, killShare);
    machine = crashedRecovery(machine, again, options);
    isMachineLost ||= again.kind === 'loss';
  }
  return { machine, isMachineLost, recoveryCount };
}

/** A recovery that is itself crashed at a random point; the machine that is left. */
function crashedRecovery(machine: Machine, crash: Crash, options: CrashesOptions): Machine {
  const { random, variant, segmentSlots, onCrash } = options;
  let left: Machine | undefined;
  let points = random.between(1, pointsMax);
  const process = new StoreProcess({
    machine,
    random: random.fork(3),
    variant,
    ...(segmentSlots === undefined ? {} : { segmentSlots }),
    onPoint: (what) => {
      points -= 1;
      if (points !== 0) return;
      onCrash(`recovery crashed ${what}, ${describeCrash(crash)}`);
      left = machine.copy();
    },
  });
  process.open();
  process.kill();
  return crashed(left ?? machine, crash);
}
