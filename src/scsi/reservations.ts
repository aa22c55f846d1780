/**
 * The reservations of one logical unit: RESERVE(6) of SPC-2, and the persistent reservation.
 *
 *     every command ─▶ refuses? ── no reservation: one field read
 *
 *     PERSISTENT RESERVE OUT ─▶ queue ─▶ next PrState ─▶ stored (APTPL) ─▶ in force ─▶ attentions, aborts ─▶ answer
 *
 * Invariants
 * 1. One PERSISTENT RESERVE OUT at a time is between reading the state and putting the next one in force.
 * 2. With APTPL, now or before, a state is in force and answered only after it is durable; when it cannot be stored,
 *    nothing has changed.
 * 3. Unit attentions go to the other nexuses, never to the sender.
 * 4. Whoever gains the reservation is answered after the writes of others that were at the device: none of them, COMPARE
 *    AND WRITE least of all, shows up later.
 */
import { toHex } from '../base/uuid.ts';
import { reservationPartMaxBytes } from './limits.ts';
import type { Nexus, NexusLun } from './nexus.ts';
import { decodePrState, encodePrState } from './persistent-codec.ts';
import {
  applyPrOut,
  type PrAttention,
  type PrChange,
  PrOutAction,
  type PrOutCommand,
  type PrRefusal,
} from './persistent-commands.ts';
import {
  emptyPrState,
  isForRegistrants,
  isHolder,
  isWriteExclusive,
  type NexusName,
  nexusText,
  type PrState,
  registrantOf,
  withoutIsids,
} from './persistent-state.ts';
import { isAllowed, type ReservationRule } from './reservation-rules.ts';
import { SenseCode } from './sense.ts';

/** What the logical unit does for its reservations. */
export interface ReservationHost {
  /** Everybody who sees the unit now. */
  readonly nexuses: Iterable<NexusLun>;
  /** Registrants are told apart by initiator name, without the ISID. */
  readonly ignoresIsid: boolean;
  /** Makes the part of LU_STATE durable. Calls are answered in order; may answer inside the call. */
  saveReservations(part: Uint8Array, done: (isSaved: boolean) => void): void;
  /** Aborts what that nexus has at this unit; `done` when nothing of it is written any more. */
  abortTasks(place: NexusLun, done: () => void): void;
  /** `done` when no write of another nexus that is at the device now is there any more. */
  whenWritesSettle(place: NexusLun, done: () => void): void;
}

/** Why registrants cannot be told apart otherwise now. */
export type IsidRefusal = 'registered' | 'notStored';

export type PrAnswer = PrRefusal | 'notStored' | undefined;

interface Waiting {
  readonly sender: NexusLun;
  readonly command: PrOutCommand;
  readonly isStale: () => boolean;
  readonly done: (answer: PrAnswer) => void;
}

const attentionCode: Readonly<Record<PrAttention, SenseCode>> = {
  reservationsPreempted: SenseCode.reservationsPreempted,
  reservationsReleased: SenseCode.reservationsReleased,
  registrationsPreempted: SenseCode.registrationsPreempted,
};

export class Reservations {
  readonly #host: ReservationHost;
  /** Holder of RESERVE(6). */
  #holder: Nexus | undefined;
  #state: PrState = emptyPrState;
  /** The part of LU_STATE as it is on disk. */
  #stored: Uint8Array = new Uint8Array(0);
  #isHeld = false;
  /** Whether the persistent reservation leaves a nexus alone. Made anew with every state. */
  #access = new WeakMap<Nexus, boolean>();
  #names = new WeakMap<Nexus, NexusName>();
  readonly #queue: (() => void)[] = [];
  /** Writes of EXTENDED COPY that came in at other logical units. */
  #copying = 0;
  #whenCopied: (() => void)[] = [];
  #isStoring = false;

  constructor(host: ReservationHost) {
    this.#host = host;
  }

  /** Takes over what a restart left; false when the bytes make no sense and nothing is reserved. */
  restore(part: Uint8Array): boolean {
    const state = decodePrState(part);
    if (state === undefined) return false;
    this.#stored = part;
    this.#setState(state);
    return true;
  }

  get state(): PrState {
    return this.#state;
  }

  /** RESERVE(6) is in force: PERSISTENT RESERVE IN and OUT conflict, for its holder, too. */
  get isReserved(): boolean {
    return this.#holder !== undefined;
  }

  /** Whether a command of that rule gets RESERVATION CONFLICT. */
  refuses(nexus: Nexus, rule: ReservationRule, cdb: Uint8Array): boolean {
    if (!this.#isHeld) return false;
    if (this.#holder !== undefined) {
      return this.#holder !== nexus && !isAllowed(rule, cdb, 'spc2');
    }
    const { reservation } = this.#state;
    if (reservation === undefined || this.#hasAccess(nexus)) return false;
    const held = isWriteExclusive(reservation.type) ? 'writeExclusive' : 'exclusiveAccess';
    return !isAllowed(rule, cdb, held);
  }

  /** RESERVE(6); `done` gets false on conflict. */
  reserve(place: NexusLun, done: (isReserved: boolean) => void): void {
    const { nexus } = place;
    if (this.#state.registrants.length > 0) {
      done(this.#isExempt(nexus));
      return;
    }
    if (this.#holder !== undefined) {
      done(this.#holder === nexus);
      return;
    }
    this.#setHolder(nexus);
    this.#whenSettled(place, () => {
      done(true);
    });
  }

  /** RELEASE(6); false on conflict. Of what somebody else reserved it is a good no-op. */
  release(nexus: Nexus): boolean {
    if (this.#state.registrants.length > 0) return this.#isExempt(nexus);
    if (this.#holder === nexus) this.#setHolder(undefined);
    return true;
  }

  /** Ends RESERVE(6) of a nexus that is gone. */
  nexusLost(nexus: Nexus): void {
    if (this.#holder === nexus) this.#setHolder(undefined);
  }

  /** LOGICAL UNIT RESET and target reset end RESERVE(6); persistent reservations stay. */
  reset(): void {
    this.#setHolder(undefined);
  }

  /** PERSISTENT RESERVE OUT. `done` gets undefined when it is in force. A command that is stale by its turn changes nothing. */
  execute(
    sender: NexusLun,
    command: PrOutCommand,
    isStale: () => boolean,
    done: (answer: PrAnswer) => void,
  ): void {
    this.#queue.push(() => {
      this.#run({ sender, command, isStale, done });
    });
    this.#advance();
  }

  /**
   * Registrants are told apart with their ISID or without it from now on. `store` makes the rule durable, with the state that
   * fits it, and has the host answer by it. With the ISID is refused while somebody is registered: whose ISID was it?
   */
  changeIsidRule(
    ignoresIsid: boolean,
    store: (part: Uint8Array, done: (isSaved: boolean) => void) => void,
    done: (refusal: IsidRefusal | undefined) => void,
  ): void {
    this.#queue.push(() => {
      if (!ignoresIsid && this.#state.registrants.length > 0) {
        done('registered');
        return;
      }
      const state = ignoresIsid ? withoutIsids(this.#state) : this.#state;
      const part = encodePrState(state);
      this.#isStoring = true;
      store(part, (isSaved) => {
        this.#isStoring = false;
        if (isSaved) {
          this.#stored = part;
          this.#names = new WeakMap();
          this.#setState(state);
        }
        done(isSaved ? undefined : 'notStored');
        this.#advance();
      });
    });
    this.#advance();
  }

  /** A request of a copy that writes to this unit goes to the device; `copyEnded` follows. */
  copyStarted(): void {
    this.#copying += 1;
  }

  copyEnded(): void {
    this.#copying -= 1;
    if (this.#copying > 0) return;
    const waiters = this.#whenCopied;
    this.#whenCopied = [];
    for (const resume of waiters) resume();
  }

  /** No new write of others can start any more: waits for those that had started. */
  #whenSettled(place: NexusLun, done: () => void): void {
    this.#host.whenWritesSettle(place, () => {
      if (this.#copying === 0) done();
      else this.#whenCopied.push(done);
    });
  }

  // ---- PERSISTENT RESERVE OUT

  #advance(): void {
    while (!this.#isStoring) {
      const step = this.#queue.shift();
      if (step === undefined) return;
      step();
    }
  }

  #run(waiting: Waiting): void {
    const { sender, command } = waiting;
    if (waiting.isStale()) {
      waiting.done('conflict');
      return;
    }
    const outcome = applyPrOut(this.#state, this.nameOf(sender.nexus), command);
    if (outcome.change === undefined) {
      waiting.done(outcome.refusal);
      return;
    }
    const { change } = outcome;
    const part = encodePrState(change.state);
    if (part.length > reservationPartMaxBytes) {
      waiting.done('noResources');
      return;
    }
    if (isSameBytes(part, this.#stored)) {
      this.#apply(waiting, change);
      return;
    }
    this.#isStoring = true;
    this.#host.saveReservations(part, (isSaved) => {
      this.#isStoring = false;
      if (isSaved) {
        this.#stored = part;
        this.#apply(waiting, change);
      } else {
        waiting.done('notStored');
      }
      this.#advance();
    });
  }

  #apply({ sender, command, done }: Waiting, change: PrChange): void {
    this.#setState(change.state);
    const aborted: NexusLun[] = [];
    for (const place of this.#host.nexuses) {
      if (place === sender) continue;
      const text = nexusText(this.nameOf(place.nexus));
      const attention = change.attentions.get(text);
      if (attention !== undefined) place.attentions.add(attentionCode[attention]);
      if (change.preempted.includes(text)) aborted.push(place);
    }
    const answer = (): void => {
      done(undefined);
    };
    if (command.action === PrOutAction.preemptAndAbort) {
      this.#abortAll(aborted, () => {
        this.#whenSettled(sender, answer);
      });
    } else if (gainsReservation.has(command.action)) {
      this.#whenSettled(sender, answer);
    } else {
      answer();
    }
  }

  #abortAll(places: readonly NexusLun[], done: () => void): void {
    let pending = places.length;
    if (pending === 0) done();
    for (const place of places) {
      this.#host.abortTasks(place, () => {
        pending -= 1;
        if (pending === 0) done();
      });
    }
  }

  // ---- who is who

  /** How a nexus is named as registrant. */
  nameOf(nexus: Nexus): NexusName {
    const known = this.#names.get(nexus);
    if (known !== undefined) return known;
    const { initiatorName, relativePort } = nexus;
    const isid = this.#host.ignoresIsid ? '' : toHex(nexus.isid);
    const name = { initiatorName, isid, relativePort };
    this.#names.set(nexus, name);
    return name;
  }

  #hasAccess(nexus: Nexus): boolean {
    const known = this.#access.get(nexus);
    if (known !== undefined) return known;
    const hasAccess = this.#isExempt(nexus);
    this.#access.set(nexus, hasAccess);
    return hasAccess;
  }

  /** Holders, and registrants where registration is enough (SPC-4 5.9.3: RESERVE and RELEASE of theirs are good, too). */
  #isExempt(nexus: Nexus): boolean {
    const { reservation } = this.#state;
    if (reservation === undefined) return false;
    const text = nexusText(this.nameOf(nexus));
    if (isForRegistrants(reservation.type)) return registrantOf(this.#state, text) !== undefined;
    return isHolder(this.#state, text);
  }

  #setState(state: PrState): void {
    this.#state = state;
    this.#access = new WeakMap();
    this.#noteHeld();
  }

  #setHolder(nexus: Nexus | undefined): void {
    this.#holder = nexus;
    this.#noteHeld();
  }

  #noteHeld(): void {
    this.#isHeld = this.#holder !== undefined || this.#state.reservation !== undefined;
  }
}

const gainsReservation: ReadonlySet<PrOutAction> = new Set([
  PrOutAction.reserve,
  PrOutAction.preempt,
  PrOutAction.registerAndMove,
]);

function isSameBytes(first: Uint8Array, second: Uint8Array): boolean {
  return first.length === second.length && first.every((byte, index) => byte === second[index]);
}
