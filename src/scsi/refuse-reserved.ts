/** The second look at reservations, when a command has its data and is about to change the medium. */
import { present } from '../base/assert.ts';
import type { Command } from './command.ts';
import { ScsiStatus } from './status.ts';

/** Ends the command, at once or with its last request, when somebody reserved the unit since it began. */
export function refuseReserved(command: Command): boolean {
  const { place, cdb } = command;
  const rule = present(command.row, 'row of a command').reservation;
  if (!place.unit.reservations.refuses(place.nexus, rule, cdb)) return false;
  command.fail(ScsiStatus.reservationConflict);
  command.settle();
  return true;
}
