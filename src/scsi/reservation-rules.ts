/**
 * Which commands a reservation of somebody else refuses: SPC-2 table 10, SPC-4 table 65, SBC-3 table 13, as one rule per
 * command. The rows name who sends: a nexus that is neither holder nor, where that helps, registrant.
 *
 *     rule        RESERVE(6) held   write exclusive   exclusive access
 *     always      allowed           allowed           allowed            INQUIRY, REPORT LUNS, REQUEST SENSE, LOG SENSE, ...
 *     persistent  refused           allowed           allowed            TEST UNIT READY, READ CAPACITY
 *     read        refused           allowed           refused            READ, VERIFY, MODE SENSE, GET LBA STATUS, ...
 *     write       refused           refused           refused            WRITE, UNMAP, MODE SELECT, EXTENDED COPY, ...
 *     start       refused           as persistent when only starting, else as write          START STOP UNIT
 *     allow       allowed when removal is allowed, else as write                             PREVENT ALLOW
 *     reservation RESERVE, RELEASE, PERSISTENT RESERVE IN and OUT: decided by their own rules
 */

import { unreachable } from '../base/assert.ts';

export const ReservationRule = {
  always: 0,
  persistent: 1,
  read: 2,
  write: 3,
  start: 4,
  allow: 5,
  reservation: 6,
} as const;
export type ReservationRule = (typeof ReservationRule)[keyof typeof ReservationRule];

/** What somebody else holds. */
export type ForeignReservation = 'spc2' | 'writeExclusive' | 'exclusiveAccess';

type PlainRule = 'always' | 'persistent' | 'read' | 'write';

const allowed: Readonly<Record<ForeignReservation, ReadonlySet<PlainRule>>> = {
  spc2: new Set(['always']),
  writeExclusive: new Set(['always', 'persistent', 'read']),
  exclusiveAccess: new Set(['always', 'persistent']),
};

const startBit = 0x01;
const loadEjectBit = 0x02;
const powerConditionMask = 0xf0;
const preventMask = 0x03;

/** Whether a command of that rule may run although somebody else holds the reservation. */
export function isAllowed(
  rule: ReservationRule,
  cdb: Uint8Array,
  held: ForeignReservation,
): boolean {
  if (rule === ReservationRule.reservation) return true;
  return allowed[held].has(plainRule(rule, cdb));
}

function plainRule(
  rule: Exclude<ReservationRule, typeof ReservationRule.reservation>,
  cdb: Uint8Array,
): PlainRule {
  const control = cdb[4] ?? 0;
  switch (rule) {
    case ReservationRule.always:
      return 'always';
    case ReservationRule.persistent:
      return 'persistent';
    case ReservationRule.read:
      return 'read';
    case ReservationRule.write:
      return 'write';
    case ReservationRule.start: {
      const isOnlyStart = (control & (startBit | loadEjectBit | powerConditionMask)) === startBit;
      return isOnlyStart ? 'persistent' : 'write';
    }
    case ReservationRule.allow:
      return (control & preventMask) === 0 ? 'always' : 'write';
    default:
      return unreachable(rule);
  }
}
