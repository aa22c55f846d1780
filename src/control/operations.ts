/**
 * Long work that a person started and may watch: one verify and one rebuild at a time, kept for a while after it ended.
 * Operations live in the daemon's memory; the work itself is the engine's and survives only with it.
 */
import { OperationError, toError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type {
  MomentOpenOperation,
  Operation,
  PoolRebuildOperation,
  PoolVerifyOperation,
  SpaceOperation,
} from '../contract/operation.ts';
import { FINISHED_OPERATIONS_MAX } from './limits.ts';

interface OperationByKind {
  'pool-verify': PoolVerifyOperation;
  'pool-rebuild': PoolRebuildOperation;
  'moment-open': MomentOpenOperation;
  'pool-space': SpaceOperation;
}

/** Any number of these may run at once. */
const sharedKinds: ReadonlySet<OperationKind> = new Set(['moment-open']);

type OperationKind = keyof OperationByKind;
type ResultOf<K extends OperationKind> = NonNullable<OperationByKind[K]['result']>;
type OnProgress = (done: number, total: number) => void;

export class Operations {
  readonly #clock: Clock;
  /** Makes ids of this daemon differ from those of an earlier one: its start, in base 36. */
  readonly #prefix: string;
  readonly #operationById = new Map<string, Operation>();
  #nextNumber = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#prefix = Math.trunc(clock.wallMs()).toString(36);
  }

  /** Starts `work` and returns at once. Throws OperationError `conflict` while one of this kind runs. */
  start<K extends OperationKind>(
    kind: K,
    work: (onProgress: OnProgress) => Promise<ResultOf<K>>,
  ): Operation {
    for (const other of this.#operationById.values()) {
      if (other.kind === kind && other.state === 'running' && !sharedKinds.has(kind)) {
        const message = `${kind} is running already, as operation ${other.id}`;
        throw new OperationError('conflict', message, 'wait for it to end');
      }
    }
    const id = `${this.#prefix}-${this.#nextNumber}`;
    this.#nextNumber += 1;
    this.#set({ id, kind, startedMs: this.#clock.wallMs(), state: 'running' });
    void this.#follow(id, work);
    return this.show(id);
  }

  /** Throws OperationError `not-found`. */
  show(id: string): Operation {
    const operation = this.#operationById.get(id);
    if (operation !== undefined) return operation;
    const message = `there is no operation ${id}`;
    throw new OperationError('not-found', message, 'operations end with the daemon that ran them');
  }

  async #follow(
    id: string,
    work: (onProgress: OnProgress) => Promise<ResultOf<OperationKind>>,
  ): Promise<void> {
    try {
      const result = await work((done, total) => {
        this.#change(id, { progress: { done, total, unit: 'segments' } });
      });
      this.#change(id, { state: 'succeeded', finishedMs: this.#clock.wallMs(), result });
    } catch (thrown) {
      const error = errorShape(toError(thrown));
      this.#change(id, { state: 'failed', finishedMs: this.#clock.wallMs(), error });
    }
    this.#forgetOldest();
  }

  #change(id: string, change: Omit<Partial<Operation>, 'id' | 'kind'>): void {
    // The result's type follows the kind: `start` ties both, and `change` never alters the kind.
    this.#set({ ...this.show(id), ...change } as Operation);
  }

  #set(operation: Operation): void {
    this.#operationById.set(operation.id, operation);
  }

  #forgetOldest(): void {
    const finished = [...this.#operationById.values()].filter((each) => each.state !== 'running');
    const surplus = Math.max(0, finished.length - FINISHED_OPERATIONS_MAX);
    for (const operation of finished.slice(0, surplus)) this.#operationById.delete(operation.id);
  }
}

function errorShape(error: Error): NonNullable<Operation['error']> {
  if (!(error instanceof OperationError)) return { code: 'internal', message: error.message };
  const { code, message, hint } = error;
  return hint === undefined ? { code, message } : { code, message, hint };
}
