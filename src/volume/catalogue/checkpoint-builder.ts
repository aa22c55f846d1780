/** Makes the records of a checkpoint a little at a time: the text of the catalogue, cut into parts. */

import type { Catalogue } from './catalogue.ts';
import { cataloguePieces } from './catalogue-text.ts';
import type { CheckpointPart } from './records.ts';

export class CheckpointBuilder {
  readonly #pieces: Iterator<string>;
  readonly #encoder = new TextEncoder();
  readonly #whole: Uint8Array[] = [];
  #part: Uint8Array;
  #used = 0;

  /** The catalogue must not change until the last step. `partBytes`: at most so much in one record; no less than a character. */
  constructor(catalogue: Catalogue, partBytes: number) {
    this.#pieces = cataloguePieces(catalogue);
    this.#part = new Uint8Array(partBytes);
  }

  /** Takes at most `pieceCount` pieces of the text on; returns whether it is whole. */
  step(pieceCount: number): boolean {
    for (let count = 0; count < pieceCount; count += 1) {
      const piece = this.#pieces.next();
      if (piece.done === true) {
        this.#endPart();
        return true;
      }
      this.#add(piece.value);
    }
    return false;
  }

  /** The records, to be logged one behind the other. Once the text is whole. */
  parts(): CheckpointPart[] {
    const partCount = this.#whole.length;
    return this.#whole.map((bytes, part) => ({ kind: 'checkpoint', part, partCount, bytes }));
  }

  #add(text: string): void {
    let rest = text;
    for (;;) {
      const { read, written } = this.#encoder.encodeInto(rest, this.#part.subarray(this.#used));
      this.#used += written;
      if (read === rest.length) return;
      // A character is never cut.
      rest = rest.slice(read);
      this.#endPart();
    }
  }

  #endPart(): void {
    if (this.#used > 0) this.#whole.push(this.#part.slice(0, this.#used));
    this.#used = 0;
  }
}
