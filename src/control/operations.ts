/**
 * Long work that a person started and may watch: one verify and one rebuild at a time, kept for a while after it ended.
 * The work is the engine's, progress and result are this daemon's: they end with it. The catalog remembers what was begun, so
 * that the next daemon can say what was lost.
 *
 *     begun ──▶ running ──▶ succeeded, failed          kept until enough newer ones have ended
 *        └ the daemon ends ──▶ the next one: failed, "lost"
 */
import { OperationError, toError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type {
  MomentOpenOperation,
  Operation,
  PoolCleanOperation,
  PoolRebuildOperation,
  PoolVerifyOperation,
  SpaceOperation,
} from '../contract/operation.ts';
import { FINISHED_OPERATIONS_MAX } from './limits.ts';

interface OperationByKind {
  'pool-verify': PoolVerifyOperation;
  'pool-rebuild': PoolRebuildOperation;
  'pool-clean': PoolCleanOperation;
  'moment-open': MomentOpenOperation;
  'pool-space': SpaceOperation;
}

/** Any number of these may run at once. */
const sharedKinds: ReadonlySet<OperationKind> = new Set(['moment-open']);

type OperationKind = keyof OperationByKind;
type ResultOf<K extends OperationKind> = NonNullable<OperationByKind[K]['result']>;
type OnProgress = (done: number, total: number) => void;

/** Remembers what was begun over the end of this daemon. */
export type OperationJournal = Pick<
  Catalog,
  'operationBegun' | 'operationEnded' | 'operationsLeft'
>;

const workByKind: Readonly<Record<OperationKind, string>> = {
  'pool-verify': 'verifying the pool',
  'pool-rebuild': 'making the manifest again',
  'pool-clean': 'cleaning the pool',
  'pool-space': 'counting space',
  'moment-open': 'opening a past moment',
};

export class Operations {
  readonly #clock: Clock;
  readonly #journal: OperationJournal;
  /** Makes ids of this daemon differ from those of an earlier one: its start, in base 36. */
  readonly #prefix: string;
  readonly #operationById = new Map<string, Operation>();
  #nextNumber = 1;
  #isStopped = false;

  constructor(clock: Clock, journal: OperationJournal) {
    this.#clock = clock;
    this.#journal = journal;
    this.#prefix = Math.trunc(clock.wallMs()).toString(36);
    for (const { id, kind, startedMs } of journal.operationsLeft()) {
      if (!isKind(kind)) continue;
      this.#set({ id, kind, startedMs, state: 'failed', error: lostWith(kind) });
    }
    this.#forgetOldest();
  }

  /** The daemon ends: what still runs counts as lost. */
  stop(): void {
    this.#isStopped = true;
  }

  /** The newest first. */
  list(): Operation[] {
    return [...this.#operationById.values()].toReversed();
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
    const startedMs = this.#clock.wallMs();
    this.#note(() => {
      this.#journal.operationBegun({ id, kind, startedMs });
    });
    this.#set({ id, kind, startedMs, state: 'running' });
    void this.#follow(id, work);
    return this.show(id);
  }

  /** Throws OperationError `not-found`. */
  show(id: string): Operation {
    const operation = this.#operationById.get(id);
    if (operation !== undefined) return operation;
    const message = `there is no operation ${id}`;
    const hint = 'tidemark pool operations shows those that are known; older ones are forgotten';
    throw new OperationError('not-found', message, hint);
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
    this.#note(() => {
      this.#journal.operationEnded(id);
    });
    this.#forgetOldest();
  }

  #note(write: () => void): void {
    if (this.#isStopped) return;
    try {
      write();
    } catch {
      // The journal is for the next daemon only: a disk that is full keeps nobody from verifying a pool.
    }
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

function isKind(kind: string): kind is OperationKind {
  return Object.hasOwn(workByKind, kind);
}

function lostWith(kind: OperationKind): NonNullable<Operation['error']> {
  return {
    code: 'unavailable',
    message: `the daemon ended while it was ${workByKind[kind]}: whether that came to its end is not known, its result is lost`,
    hint: 'run it again',
  };
}

function errorShape(error: Error): NonNullable<Operation['error']> {
  if (!(error instanceof OperationError)) return { code: 'internal', message: error.message };
  const { code, message, hint } = error;
  return hint === undefined ? { code, message } : { code, message, hint };
}
