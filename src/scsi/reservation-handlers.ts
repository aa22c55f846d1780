/** RESERVE(6), RELEASE(6), PERSISTENT RESERVE IN and OUT: CDB and parameter list to `Reservations`, answers to status. */
import { byteAt, u16At, u32At } from './bytes.ts';
import type { Command } from './command.ts';
import { parameterListMaxBytes } from './limits.ts';
import { PrOutAction } from './persistent-commands.ts';
import {
  basicListBytes,
  decodePrOut,
  encodeCapabilities,
  encodeFullStatus,
  encodeKeys,
  encodeReservation,
} from './persistent-parameters.ts';
import { isPrType, type PrState } from './persistent-state.ts';
import type { PrAnswer } from './reservations.ts';
import { cdbField, SenseCode } from './sense.ts';
import { ScsiStatus } from './status.ts';

/** RESERVE(6), SPC-2 7.21. */
export function reserve6(command: Command): void {
  const { place } = command;
  place.unit.reservations.reserve(place, (isReserved) => {
    if (isReserved) command.succeed();
    else command.conclude(ScsiStatus.reservationConflict);
  });
}

/** RELEASE(6), SPC-2 7.16. */
export function release6(command: Command): void {
  const { unit, nexus } = command.place;
  if (unit.reservations.release(nexus)) command.succeed();
  else command.conclude(ScsiStatus.reservationConflict);
}

const serviceActionMask = 0x1f;

/** Service actions of PERSISTENT RESERVE IN, SPC-4 table 211. */
const answers: ReadonlyMap<number, (state: PrState) => Uint8Array> = new Map([
  [0, encodeKeys],
  [1, encodeReservation],
  [2, encodeCapabilities],
  [3, encodeFullStatus],
]);

/** PERSISTENT RESERVE IN, SPC-4 6.15. */
export function persistentReserveIn(command: Command): void {
  const { reservations } = command.place.unit;
  const encode = answers.get(byteAt(command.cdb, 1) & serviceActionMask);
  if (encode === undefined) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 4) });
  } else if (reservations.isReserved) {
    command.conclude(ScsiStatus.reservationConflict);
  } else {
    command.sendParameters(encode(reservations.state), u16At(command.cdb, 7));
  }
}

const usesType: ReadonlySet<PrOutAction> = new Set([
  PrOutAction.reserve,
  PrOutAction.release,
  PrOutAction.preempt,
  PrOutAction.preemptAndAbort,
]);

/** PERSISTENT RESERVE OUT, SPC-4 6.16. */
export function persistentReserveOut(command: Command): void {
  const { cdb, place } = command;
  const code = byteAt(cdb, 1) & serviceActionMask;
  const action = Object.values(PrOutAction).find((known) => known === code);
  if (action === undefined) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, 4) });
    return;
  }
  if (place.unit.reservations.isReserved) {
    command.conclude(ScsiStatus.reservationConflict);
    return;
  }
  const scopeType = byteAt(cdb, 2);
  if (usesType.has(action) && !(scopeType >> 4 === 0 && isPrType(scopeType))) {
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(2) });
    return;
  }
  const length = u32At(cdb, 5);
  if (length < basicListBytes || length > parameterListMaxBytes) {
    command.check(SenseCode.parameterListLengthError, { keySpecific: cdbField(5) });
    return;
  }
  command.receiveParameters(length, (_command, list) => {
    executePrOut(command, action, list);
  });
}

function executePrOut(command: Command, action: PrOutAction, list: Uint8Array): void {
  const { place, cdb, services } = command;
  const { reservations } = place.unit;
  const decoded = decodePrOut(list, {
    action,
    scopeType: byteAt(cdb, 2),
    senderPort: place.nexus.relativePort,
    relativePorts: services.targetGroups.relativePorts,
    ignoresIsid: place.unit.ignoresIsid,
  });
  if (decoded.command === undefined) {
    const isShort = decoded.problem === 'length';
    command.check(
      isShort ? SenseCode.parameterListLengthError : SenseCode.invalidFieldInParameterList,
    );
  } else {
    const isStale = (): boolean => command.isAborting;
    reservations.execute(place, decoded.command, isStale, (answer) => {
      answerPrOut(command, answer);
    });
  }
}

function answerPrOut(command: Command, answer: PrAnswer): void {
  switch (answer) {
    case undefined:
      command.succeed();
      return;
    case 'conflict':
      command.conclude(ScsiStatus.reservationConflict);
      return;
    case 'invalidFieldInCdb':
      command.check(SenseCode.invalidFieldInCdb);
      return;
    case 'invalidFieldInList':
      command.check(SenseCode.invalidFieldInParameterList);
      return;
    case 'invalidRelease':
      command.check(SenseCode.invalidReleaseOfReservation);
      return;
    case 'noResources':
      command.check(SenseCode.insufficientRegistrationResources);
      return;
    case 'notStored':
      command.check(SenseCode.internalTargetFailure);
      return;
  }
}
