/**
 * Answers "the bytes differ" to compare-and-writes, checked against the model.
 *
 *     write published ─▶ lock freed ─▶ waiting compare reads it ─▶ miscompare answered ─▶ write answered
 *
 * As the picture shows, an answer may come a moment before that of the write which explains it. So one that the model
 * does not explain yet is doubtful until the store's present event is over; then it is a violation.
 */
import { describeOp, type ModelOp } from './model.ts';
import { Violation } from './oracle.ts';

export interface Miscompare {
  readonly op: ModelOp;
  readonly expected: Uint8Array;
  /** As the store says. */
  readonly miscompareOffset: number;
  /** What the model has there now; undefined when the volume is gone. */
  readonly present: () => Uint8Array | undefined;
}

export class Miscompares {
  #doubtful: Miscompare[] = [];

  add(miscompare: Miscompare): void {
    this.#doubtful.push(miscompare);
    this.published();
  }

  /** The model has changed: perhaps it explains an answer. */
  published(): void {
    this.#doubtful = this.#doubtful.filter((each) => !isExplained(each));
  }

  /** To be called between two events of the store. */
  requireNone(): void {
    const [first] = this.#doubtful;
    if (first === undefined) return;
    const present = first.present();
    const expected = present === undefined ? -1 : firstDifference(present, first.expected);
    throw new Violation(
      `${describeOp(first.op)}: miscompare at ${first.miscompareOffset} instead of ${expected}`,
    );
  }
}

function isExplained({ expected, miscompareOffset, present }: Miscompare): boolean {
  const bytes = present();
  return bytes !== undefined && firstDifference(bytes, expected) === miscompareOffset;
}

/** Index of the first byte that differs; -1 = none. */
function firstDifference(left: Uint8Array, right: Uint8Array): number {
  return left.findIndex((byte, index) => byte !== right[index]);
}
