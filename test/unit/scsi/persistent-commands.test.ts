/** PERSISTENT RESERVE OUT as a function on states: SPC-4 5.9, rule by rule. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyPrOut,
  type PrAttention,
  type PrChange,
  PrOutAction,
  type PrOutCommand,
  type PrRefusal,
} from '../../../src/scsi/persistent-commands.ts';
import {
  assertPrState,
  emptyPrState,
  isAllRegistrants,
  type NexusName,
  nexusText,
  type PrState,
  PrType,
} from '../../../src/scsi/persistent-state.ts';

const port = (index: number, relativePort = 1): NexusName => ({
  initiatorName: `iqn.2026-11.test:${index}`,
  isid: `00000000000${index}`,
  relativePort,
});
const one = port(1);
const two = port(2);
const three = port(3);

function command(action: PrOutAction, given: Partial<PrOutCommand> = {}): PrOutCommand {
  return {
    action,
    type: undefined,
    key: 0n,
    actionKey: 0n,
    isPersistent: false,
    ports: undefined,
    relativePorts: [1],
    move: undefined,
    ...given,
  };
}

function change(state: PrState, sender: NexusName, given: PrOutCommand): PrChange {
  const outcome = applyPrOut(state, sender, given);
  expect(outcome.refusal).toBeUndefined();
  return outcome.change as PrChange;
}

function refusal(state: PrState, sender: NexusName, given: PrOutCommand): PrRefusal | undefined {
  return applyPrOut(state, sender, given).refusal;
}

/** Ports 1 to `keys.length` registered with those keys. */
function registered(...keys: bigint[]): PrState {
  let state = emptyPrState;
  for (const [index, actionKey] of keys.entries()) {
    state = change(state, port(index + 1), command(PrOutAction.register, { actionKey })).state;
  }
  return state;
}

function reserved(type: PrType, ...keys: bigint[]): PrState {
  const key = keys[0] ?? 0n;
  return change(registered(...keys), one, command(PrOutAction.reserve, { type, key })).state;
}

function told(given: PrChange): Record<string, PrAttention> {
  const names: Record<string, PrAttention> = {};
  for (const [text, attention] of given.attentions) names[text.slice(17, 18)] = attention;
  return names;
}

describe('REGISTER', () => {
  it('registers an unregistered nexus whose reservation key is zero, and counts', () => {
    const state = registered(11n);
    expect(state.registrants).toEqual([{ ...one, key: 11n }]);
    expect(state.generation).toBe(1);
  });

  it('conflicts when the key is not the registered one', () => {
    expect(refusal(emptyPrState, one, command(PrOutAction.register, { key: 5n }))).toBe('conflict');
    const wrong = command(PrOutAction.register, { key: 12n, actionKey: 13n });
    expect(refusal(registered(11n), one, wrong)).toBe('conflict');
  });

  it('changes the key of a registered nexus, which keeps its reservation', () => {
    const state = reserved(PrType.exclusiveAccess, 11n);
    const next = change(state, one, command(PrOutAction.register, { key: 11n, actionKey: 12n }));
    expect(next.state.registrants).toEqual([{ ...one, key: 12n }]);
    expect(next.state.reservation?.holder).toBe(nexusText(one));
  });

  it('registers every target port with ALL_TG_PT', () => {
    const all = command(PrOutAction.register, { actionKey: 7n, relativePorts: [1, 2] });
    const { state } = change(emptyPrState, one, all);
    expect(state.registrants.map(({ relativePort }) => relativePort)).toEqual([1, 2]);
    expect(state.generation).toBe(1);
  });

  it('registers named ports beside the sender with SPEC_I_PT, or nobody', () => {
    const named = command(PrOutAction.register, { actionKey: 7n, ports: [two, three] });
    expect(change(emptyPrState, one, named).state.registrants).toHaveLength(3);
    expect(refusal(registered(1n, 2n), three, named)).toBe('conflict');
  });

  it('refuses SPEC_I_PT when registered already, and when unregistering', () => {
    const again = command(PrOutAction.register, { key: 1n, actionKey: 7n, ports: [two] });
    expect(refusal(registered(1n), one, again)).toBe('invalidFieldInList');
    const away = command(PrOutAction.register, { ports: [two] });
    expect(refusal(emptyPrState, one, away)).toBe('invalidFieldInList');
  });

  it('AND IGNORE EXISTING KEY does not look at the key', () => {
    const ignore = command(PrOutAction.registerAndIgnore, { key: 99n, actionKey: 12n });
    expect(change(registered(11n), one, ignore).state.registrants[0]?.key).toBe(12n);
  });

  it('refuses more registrants than there is room for', () => {
    let state = emptyPrState;
    for (let index = 0; index < 512; index += 1) {
      const sender = { ...one, relativePort: index + 1 };
      const given = command(PrOutAction.register, {
        actionKey: 1n,
        relativePorts: [sender.relativePort],
      });
      state = change(state, sender, given).state;
    }
    const more = command(PrOutAction.register, { actionKey: 1n });
    expect(refusal(state, two, more)).toBe('noResources');
  });
});

describe('unregistering', () => {
  const away = command(PrOutAction.register, { key: 1n });

  it.each([PrType.writeExclusive, PrType.exclusiveAccess])(
    'by the holder releases type %i and tells nobody',
    (type) => {
      const next = change(reserved(type, 1n, 2n), one, away);
      expect(next.state.reservation).toBeUndefined();
      expect(told(next)).toEqual({});
    },
  );

  it.each([PrType.writeExclusiveRegistrantsOnly, PrType.exclusiveAccessRegistrantsOnly])(
    'by the holder releases type %i and tells the other registrants',
    (type) => {
      const next = change(reserved(type, 1n, 2n, 3n), one, away);
      expect(next.state.reservation).toBeUndefined();
      expect(told(next)).toEqual({ 2: 'reservationsReleased', 3: 'reservationsReleased' });
    },
  );

  it('of an all registrants type ends the reservation with the last registrant only', () => {
    const first = change(reserved(PrType.writeExclusiveAllRegistrants, 1n, 2n), one, away);
    expect(first.state.reservation?.type).toBe(PrType.writeExclusiveAllRegistrants);
    const last = change(first.state, two, command(PrOutAction.register, { key: 2n }));
    expect(last.state.reservation).toBeUndefined();
  });
});

describe('RESERVE and RELEASE', () => {
  it('conflict for who is not registered or names another key', () => {
    const type = PrType.writeExclusive;
    for (const action of [PrOutAction.reserve, PrOutAction.release]) {
      expect(refusal(registered(1n), two, command(action, { type, key: 1n }))).toBe('conflict');
      expect(refusal(registered(1n), one, command(action, { type, key: 2n }))).toBe('conflict');
    }
  });

  it('is repeated by the holder with the same type only', () => {
    const state = reserved(PrType.writeExclusive, 1n, 2n);
    const same = command(PrOutAction.reserve, { type: PrType.writeExclusive, key: 1n });
    expect(change(state, one, same).state).toEqual(state);
    const other = command(PrOutAction.reserve, { type: PrType.exclusiveAccess, key: 1n });
    expect(refusal(state, one, other)).toBe('conflict');
    expect(refusal(state, two, { ...same, key: 2n })).toBe('conflict');
  });

  it('is good for every registrant when all of them hold', () => {
    const type = PrType.exclusiveAccessAllRegistrants;
    const again = command(PrOutAction.reserve, { type, key: 2n });
    expect(refusal(reserved(type, 1n, 2n), two, again)).toBeUndefined();
  });

  it('does not count as a generation', () => {
    const state = reserved(PrType.writeExclusive, 1n);
    expect(state.generation).toBe(1);
    const release = command(PrOutAction.release, { type: PrType.writeExclusive, key: 1n });
    expect(change(state, one, release).state.generation).toBe(1);
  });

  it('releases what the sender holds, with the right type', () => {
    const state = reserved(PrType.writeExclusiveRegistrantsOnly, 1n, 2n);
    const wrong = command(PrOutAction.release, { type: PrType.writeExclusive, key: 1n });
    expect(refusal(state, one, wrong)).toBe('invalidRelease');
    const right = { ...wrong, type: PrType.writeExclusiveRegistrantsOnly };
    const next = change(state, one, right);
    expect(next.state.reservation).toBeUndefined();
    expect(told(next)).toEqual({ 2: 'reservationsReleased' });
  });

  it('of a registrant that does not hold is good and changes nothing', () => {
    const state = reserved(PrType.writeExclusive, 1n, 2n);
    const release = command(PrOutAction.release, { type: PrType.writeExclusive, key: 2n });
    expect(change(state, two, release).state).toEqual(state);
  });
});

describe('CLEAR', () => {
  it('removes everything and tells all other registrants', () => {
    const state = reserved(PrType.writeExclusive, 1n, 2n, 3n);
    const next = change(state, two, command(PrOutAction.clear, { key: 2n }));
    expect(next.state).toMatchObject({ registrants: [], reservation: undefined, generation: 4 });
    expect(told(next)).toEqual({ 1: 'reservationsPreempted', 3: 'reservationsPreempted' });
  });
});

const by = (actionKey: bigint, type: PrType = PrType.exclusiveAccess): PrOutCommand =>
  command(PrOutAction.preempt, { key: 2n, actionKey, type });

describe('PREEMPT', () => {
  it('takes the reservation over from the holder that the key names', () => {
    const next = change(reserved(PrType.exclusiveAccess, 1n, 2n, 3n), two, by(1n));
    expect(next.state.reservation).toEqual({
      type: PrType.exclusiveAccess,
      holder: nexusText(two),
    });
    expect(next.state.registrants.map(({ key }) => key)).toEqual([2n, 3n]);
    expect(told(next)).toEqual({ 1: 'registrationsPreempted' });
    expect(next.preempted).toEqual([nexusText(one)]);
  });

  it('tells those who stay when the type changed', () => {
    const next = change(
      reserved(PrType.exclusiveAccess, 1n, 2n, 3n),
      two,
      by(1n, PrType.writeExclusive),
    );
    expect(told(next)).toEqual({ 1: 'registrationsPreempted', 3: 'reservationsReleased' });
  });

  it('removes other registrations and leaves the reservation', () => {
    const state = reserved(PrType.exclusiveAccess, 1n, 2n, 3n);
    const next = change(state, two, by(3n));
    expect(next.state.reservation).toEqual(state.reservation);
    expect(next.state.registrants.map(({ key }) => key)).toEqual([1n, 2n]);
    expect(told(next)).toEqual({ 3: 'registrationsPreempted' });
  });

  it('works without a reservation, and makes none', () => {
    const next = change(registered(1n, 2n), two, by(1n));
    expect(next.state.reservation).toBeUndefined();
    expect(next.state.registrants).toHaveLength(1);
    expect(next.state.generation).toBe(3);
  });

  it('conflicts when nobody has the key', () => {
    expect(refusal(registered(1n, 2n), two, by(9n))).toBe('conflict');
    expect(refusal(reserved(PrType.writeExclusive, 1n, 2n), two, by(9n))).toBe('conflict');
  });

  it('refuses a key of zero but for an all registrants type, where it means everybody', () => {
    expect(refusal(registered(1n, 2n), two, by(0n))).toBe('invalidFieldInList');
    const all = reserved(PrType.writeExclusiveAllRegistrants, 1n, 2n, 3n);
    const next = change(all, two, by(0n));
    expect(next.state.registrants).toEqual([{ ...two, key: 2n }]);
    expect(next.state.reservation?.type).toBe(PrType.exclusiveAccess);
  });

  it('keeps the sender registered although it shares the preempted key', () => {
    const next = change(reserved(PrType.writeExclusive, 2n, 2n), two, by(2n));
    expect(next.state.registrants).toEqual([{ ...two, key: 2n }]);
  });
});

const to = (unregisters: boolean, given: Partial<PrOutCommand> = {}): PrOutCommand =>
  command(PrOutAction.registerAndMove, {
    key: 1n,
    actionKey: 5n,
    move: { to: three, unregisters },
    ...given,
  });

describe('REGISTER AND MOVE', () => {
  it('registers the target of the move and gives it the reservation', () => {
    const next = change(reserved(PrType.writeExclusive, 1n), one, to(false));
    expect(next.state.reservation).toEqual({
      type: PrType.writeExclusive,
      holder: nexusText(three),
    });
    expect(next.state.registrants.map(({ key }) => key)).toEqual([1n, 5n]);
  });

  it('unregisters the sender when asked to', () => {
    const next = change(reserved(PrType.writeExclusive, 1n), one, to(true));
    expect(next.state.registrants).toEqual([{ ...three, key: 5n }]);
  });

  it('is for the holder of a reservation that has one holder', () => {
    expect(refusal(registered(1n), one, to(false))).toBe('invalidFieldInCdb');
    expect(refusal(reserved(PrType.writeExclusiveAllRegistrants, 1n), one, to(false))).toBe(
      'conflict',
    );
    const state = reserved(PrType.writeExclusive, 1n, 2n);
    expect(refusal(state, two, to(false, { key: 2n }))).toBe('conflict');
  });

  it('refuses a key of zero and a move to the own port', () => {
    const state = reserved(PrType.writeExclusive, 1n);
    expect(refusal(state, one, to(false, { actionKey: 0n }))).toBe('invalidFieldInList');
    const own = { to: { ...one, relativePort: 2 }, unregisters: false };
    expect(refusal(state, one, to(false, { move: own }))).toBe('invalidFieldInList');
  });
});

describe('any sequence', () => {
  const types = Object.values(PrType);
  const actions = Object.values(PrOutAction);
  const anyCommand = fc.record({
    sender: fc.integer({ min: 1, max: 4 }),
    action: fc.constantFrom(...actions),
    type: fc.constantFrom(...types),
    key: fc.bigInt({ min: 0n, max: 3n }),
    actionKey: fc.bigInt({ min: 0n, max: 3n }),
    isKeyRight: fc.boolean(),
    target: fc.integer({ min: 1, max: 4 }),
    unregisters: fc.boolean(),
  });

  it('keeps the invariants, never tells the sender, and counts what it must', () => {
    fc.assert(
      fc.property(fc.array(anyCommand, { maxLength: 60 }), (commands) => {
        let state = emptyPrState;
        for (const given of commands) {
          const sender = port(given.sender);
          const text = nexusText(sender);
          const own = state.registrants.find((other) => nexusText(other) === text);
          const outcome = applyPrOut(
            state,
            sender,
            command(given.action, {
              type: given.type,
              key: given.isKeyRight ? (own?.key ?? 0n) : given.key,
              actionKey: given.actionKey,
              move: { to: port(given.target), unregisters: given.unregisters },
            }),
          );
          if (outcome.change === undefined) continue;
          const { change: made } = outcome;
          assertPrState(made.state);
          expect(made.attentions.has(text)).toBe(false);
          expect(made.preempted).not.toContain(text);
          const isCounted =
            given.action !== PrOutAction.reserve && given.action !== PrOutAction.release;
          expect(made.state.generation).toBe(state.generation + (isCounted ? 1 : 0));
          const { reservation } = made.state;
          if (reservation !== undefined && isAllRegistrants(reservation.type)) {
            expect(made.state.registrants.length).toBeGreaterThan(0);
          }
          state = made.state;
        }
      }),
    );
  });
});
