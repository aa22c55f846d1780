/**
 * What every command passes before its handler, in this order:
 *
 *     pending unit attention ─▶ is there such a command ─▶ is it known who reserved the unit ─▶ reservation of another nexus
 *     ─▶ bits of the CDB ─▶ write protection
 */
import { byteAt } from './bytes.ts';
import type { Command } from './command.ts';
import type { CommandRow } from './command-row.ts';
import { wrongBit } from './command-table.ts';
import type { NexusLun } from './nexus.ts';
import { ReservationRule } from './reservation-rules.ts';
import { cdbField, SenseCode } from './sense.ts';
import { ScsiStatus } from './status.ts';

const serviceActionBit = 4;

/** Runs `command`, whose turn it is. */
export function execute(command: Command): void {
  const { cdb, place, services } = command;
  const { table } = services;
  const row = table.find(cdb);
  // Set first: residuals depend on the direction, also of commands that are refused.
  command.row = row;
  if (place.attentions.isPending && row?.bypassesAttention !== true) {
    const attention = place.attentions.take();
    if (attention !== undefined) command.check(attention);
  } else if (services.targetGroups.isRestricted && refuseState(command)) {
    // Ended: the group of this port does not serve such commands now.
  } else if (row === undefined) {
    refuseUnknown(command);
  } else {
    runRow(command, row);
  }
}

/** The asymmetric access state of the port refuses the command. */
function refuseState(command: Command): boolean {
  const { cdb, place, services } = command;
  const code = services.targetGroups.refusal(place.nexus.relativePort, cdb);
  if (code === undefined) return false;
  command.check(code);
  return true;
}

function refuseUnknown(command: Command): void {
  const { cdb, services } = command;
  if (services.table.hasOpcode(byteAt(cdb, 0))) {
    // The opcode is known: its service action is the invalid field.
    command.check(SenseCode.invalidFieldInCdb, { keySpecific: cdbField(1, serviceActionBit) });
  } else {
    command.check(SenseCode.invalidOperationCode);
  }
}

function runRow(command: Command, row: CommandRow): void {
  const { cdb, place } = command;
  const { reservations, isStateDamaged } = place.unit;
  if (isStateDamaged && row.reservation !== ReservationRule.always) {
    command.check(SenseCode.notReadyManualIntervention);
    return;
  }
  if (reservations.refuses(place.nexus, row.reservation, cdb)) {
    command.conclude(ScsiStatus.reservationConflict);
    return;
  }
  const wrong = wrongBit(row, cdb);
  if (wrong >= 0) {
    const keySpecific = cdbField(Math.floor(wrong / 8), wrong % 8);
    command.check(SenseCode.invalidFieldInCdb, { keySpecific });
  } else if (row.changesMedium === true && isWriteProtected(place)) {
    command.check(SenseCode.writeProtected);
  } else {
    command.run(row.handler);
  }
}

/** For the mapping, for the device, or because MODE SELECT said so. */
export function isWriteProtected(place: NexusLun): boolean {
  return place.isReadOnly || place.unit.device.isReadOnly || place.unit.modePages.isWriteProtected;
}
