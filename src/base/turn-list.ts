/** Connections with something to do at the end of this turn of the event loop: each once, in the order of marking. */
import type { Timers } from './ports.ts';

export interface TurnMember {
  /** For the list: it has the member. */
  isMarked: boolean;
  /** What was collected in this turn leaves; what waited goes on. */
  endTurn(): void;
}

export class TurnList {
  readonly #timers: Timers;
  #marked: TurnMember[] = [];
  readonly #endTurn = (): void => {
    const marked = this.#marked;
    this.#marked = [];
    for (const member of marked) {
      member.isMarked = false;
      member.endTurn();
    }
  };

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Has `endTurn` called at the end of this turn. */
  mark(member: TurnMember): void {
    if (member.isMarked) return;
    member.isMarked = true;
    this.#marked.push(member);
    if (this.#marked.length === 1) this.#timers.defer(this.#endTurn);
  }
}
