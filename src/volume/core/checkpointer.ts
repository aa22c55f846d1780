/**
 * Checkpointer: logs the whole catalogue whenever enough was logged since the last time: what an opening must read ends there.
 *
 *     operate ─▶ text, a slice at a time ─▶ parts ─▶ durable ─▶ parts ─▶ durable ─▶ ... ─▶ the next operation
 *                └── clients' I/O goes on between slices, and its frames between parts ──┘
 *
 * Invariants
 * 1. It is an operation like any other, so nothing changes the catalogue from the first slice to the last part: the text is
 *    what the records before the last part add up to.
 * 2. One that is cut short, by a crash or by the end of the pool, is none: whoever reads the log passes over its parts.
 */
import { success } from '../../base/errors.ts';
import { CheckpointBuilder } from '../catalogue/checkpoint-builder.ts';
import type { CheckpointPart } from '../catalogue/records.ts';
import type { Operator } from './operator.ts';

/**
 * A checkpoint is due when so many times its bytes were logged behind it: half a percent of the log, and of the time in which
 * operations wait for the one that is being made.
 */
const bytesPerCheckpointByte = 256;
/** Half a MiB: the parts of 300,000 pins, some 60, hold up snapshots for eight flushes and not for 60. */
const partsAtOnce = 8;

export class Checkpointer {
  readonly #operator: Operator;
  /** Of the log; less than zero for what was logged before it was opened. */
  #bytesAtLast: number;
  /** Of the last checkpoint; 0 = none was made since the pool was opened. */
  #checkpointBytes = 0;
  #isRunning = false;
  #isStopped = false;
  /** Ends the operation while no part of it is in the log. */
  #abandon: (() => void) | undefined;

  /** `bytesBefore`: what the next opening would read of the recovered log. */
  constructor(operator: Operator, bytesBefore: number) {
    this.#operator = operator;
    this.#bytesAtLast = -bytesBefore;
  }

  /** Begins one when it is due. */
  look(): void {
    const { writer } = this.#operator.parts;
    if (writer === undefined || this.#isRunning) return;
    const { bytesLogged } = writer.log;
    if (bytesLogged - this.#bytesAtLast < this.#dueBytes()) return;
    this.#bytesAtLast = bytesLogged;
    this.run();
  }

  /** Begins one now, unless one is under way. */
  run(): void {
    if (this.#isRunning || this.#isStopped) return;
    this.#isRunning = true;
    const { parts } = this.#operator;
    this.#operator.operate<undefined>(
      (outcome) => {
        this.#isRunning = false;
        if (!outcome.ok) parts.host.log.warn('no checkpoint', { error: outcome.error.message });
      },
      (finish) => {
        const end = (): void => {
          this.#abandon = undefined;
          finish(success(undefined));
        };
        if (this.#isStopped) {
          end();
          return;
        }
        this.#abandon = end;
        const { checkpointPartBytes } = parts.settings;
        this.#build(new CheckpointBuilder(parts.catalogue, checkpointPartBytes), end);
      },
    );
  }

  /** Begins none any more, and ends one that is under way; what waits for it goes on inside the call, or when a part is durable. */
  stop(): void {
    this.#isStopped = true;
    this.#abandon?.();
  }

  #dueBytes(): number {
    const { checkpointBytesMin, checkpointBytesMax } = this.#operator.parts.settings;
    const due = Math.max(checkpointBytesMin, this.#checkpointBytes * bytesPerCheckpointByte);
    return Math.min(due, checkpointBytesMax);
  }

  #build(builder: CheckpointBuilder, end: () => void): void {
    const { host, settings } = this.#operator.parts;
    host.timers.defer(() => {
      if (this.#isStopped) return;
      if (!builder.step(settings.checkpointSlicePieces)) {
        this.#build(builder, end);
        return;
      }
      this.#abandon = undefined;
      const made = builder.parts();
      this.#checkpointBytes = made.reduce((sum, { bytes }) => sum + bytes.length, 0);
      this.#log(made, 0, end);
    });
  }

  /** Some parts at a time: a client's write waits for these only, and other operations for few rounds. */
  #log(parts: readonly CheckpointPart[], first: number, end: () => void): void {
    const next = Math.min(parts.length, first + partsAtOnce);
    if (first === next || this.#isStopped) {
      end();
      return;
    }
    let left = next - first;
    for (const part of parts.slice(first, next)) {
      this.#operator.commit([part], () => {
        left -= 1;
        if (left === 0) this.#log(parts, next, end);
      });
    }
  }
}
