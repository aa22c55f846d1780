/** Lets a random client work on a process for a while. */
import { Client } from './client.ts';
import type { Oracle } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import type { StoreProcess } from './store-process.ts';
import type { Workload } from './workload.ts';

export interface DriveOptions {
  readonly process: StoreProcess;
  readonly client: Client;
  readonly oracle: Oracle;
  readonly workload: Workload;
  /** Operations to submit. */
  readonly count: number;
  /** Requests in flight before the next is submitted. */
  readonly queueDepth: () => number;
  /** Asked before each operation; true ends the work. */
  readonly isOver: () => boolean;
  /** Runs between two operations. */
  readonly between: () => void;
}

const eventsMax = 200_000;

/** Submits up to `count` operations; those in flight at the end are not waited for. Returns how many it submitted. */
export function drive(options: DriveOptions): number {
  const { process, client, oracle, workload, isOver } = options;
  const wait = (isReady: () => boolean, what: string): void => {
    process.runUntil(() => isReady() || isOver(), eventsMax, what);
  };
  for (let done = 0; done < options.count; done += 1) {
    options.between();
    const depth = options.queueDepth();
    wait(() => client.pendingCount < depth, 'a free place in the queue');
    const wasBusy = client.isCatalogueBusy;
    const { op, isAlone } = workload.next(oracle.now, wasBusy);
    if (isAlone) wait(() => client.pendingCount === 0, 'an empty queue');
    if (isOver()) return done;
    // It was made for a volume that may have another size by now.
    if (isAlone && wasBusy) continue;
    client.submit(op, workload.nextSequence());
    if (isAlone) wait(() => client.pendingCount === 0, 'its answer');
  }
  return options.count;
}

/** Some writes and changes that are all answered, because nothing fails meanwhile. */
export function driveInPeace(options: {
  readonly process: StoreProcess;
  readonly oracle: Oracle;
  readonly workload: Workload;
  readonly random: SeededRandom;
  readonly trace: ((line: string) => void) | undefined;
}): void {
  const { process, oracle, workload, random, trace } = options;
  const client = new Client(process, oracle, 'none', (what) => {
    trace?.(`  ${what}`);
  });
  drive({
    process,
    client,
    oracle,
    workload,
    count: random.between(5, 80),
    queueDepth: () => 4,
    isOver: () => false,
    between: () => {
      process.runSome(random.below(4));
    },
  });
  process.runUntil(() => client.pendingCount === 0, eventsMax, 'answers');
}
