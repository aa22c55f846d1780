/**
 * Every command this device server knows, as rows of the command table. In a usage mask `ff` is a field that is looked at, a 0
 * bit one that must be 0: protection information, group numbers, NACA and whatever is reserved.
 */
import {
  prefetch10,
  prefetch16,
  synchronizeCache10,
  synchronizeCache16,
} from './cache-commands.ts';
import { readCapacity10, readCapacity16 } from './capacity.ts';
import { type CommandRow, type Handler, long, moving, quick } from './command-row.ts';
import { compareAndWrite } from './compare-and-write.ts';
import { extendedCopy } from './copy.ts';
import { receiveCopyResults } from './copy-results.ts';
import { inquiry } from './inquiry.ts';
import { getLbaStatus } from './lba-status.ts';
import { logSense } from './log-sense.ts';
import { modeSelect6, modeSelect10, modeSense6, modeSense10 } from './mode-commands.ts';
import { read6, read10, read12, read16 } from './reads.ts';
import { reportLuns } from './report-luns.ts';
import { reportSupportedManagement, reportSupportedOpcodes } from './report-supported.ts';
import { requestSense } from './request-sense.ts';
import {
  persistentReserveIn,
  persistentReserveOut,
  release6,
  reserve6,
} from './reservation-handlers.ts';
import { ReservationRule } from './reservation-rules.ts';
import { reportTargetPortGroups } from './target-groups.ts';
import { preventAllow, sendDiagnostic, startStopUnit, testUnitReady } from './unit-commands.ts';
import { unmap } from './unmap.ts';
import {
  verify10,
  verify12,
  verify16,
  writeAndVerify10,
  writeAndVerify12,
  writeAndVerify16,
} from './verify.ts';
import { writeSame10, writeSame16 } from './write-same.ts';
import { orWrite16, write6, write10, write12, write16 } from './writes.ts';

const { always, persistent, read, write, start, allow, reservation } = ReservationRule;

type Rest = Pick<CommandRow, 'direction' | 'reservation' | 'timeouts'> &
  Partial<Pick<CommandRow, 'changesMedium' | 'bypassesAttention'>>;

const tells: Rest = { direction: 'in', reservation: always, timeouts: quick };
const reads: Rest = { direction: 'in', reservation: read, timeouts: moving };
const checks: Rest = { direction: 'out', reservation: read, timeouts: long };
const writes: Rest = {
  direction: 'out',
  reservation: write,
  changesMedium: true,
  timeouts: moving,
};
const sweeps: Rest = { ...writes, timeouts: long };
/** Moves no data between initiator and server. */
const acts: Rest = { direction: 'none', reservation: persistent, timeouts: quick };
const caches: Rest = { direction: 'none', reservation: read, timeouts: moving };
const reserves: Rest = { direction: 'out', reservation, timeouts: quick };
const bypasses: Rest = { ...tells, bypassesAttention: true };

/** `usage`: hexadecimal, one byte after the other, without the opcode. */
function row(opcode: number, name: string, usage: string, definition: Rest & Runs): CommandRow {
  return { opcode, name, usage: [opcode, ...usageBytes(usage)], ...definition };
}

interface Runs {
  readonly handler: Handler;
}

/** A command that shares its opcode: the mask of byte 1 has the service action. */
function action(
  [opcode, serviceAction]: readonly [number, number],
  name: string,
  usage: string,
  definition: Rest & Runs,
): CommandRow {
  return { ...row(opcode, name, usage, definition), serviceAction };
}

function usageBytes(usage: string): number[] {
  return usage.split(' ').map((byte) => Number.parseInt(byte, 16));
}

/** LBA of 8 bytes and count of 4 at their usual places, after byte 1. */
const range16 = 'ff ff ff ff ff ff ff ff ff ff ff ff 00 00';
const range12 = 'ff ff ff ff ff ff ff ff 00 00';
const range10 = 'ff ff ff ff 00 ff ff 00';

const unitRows: readonly CommandRow[] = [
  row(0x00, 'TEST UNIT READY', '00 00 00 00 00', { ...acts, handler: testUnitReady }),
  row(0x03, 'REQUEST SENSE', '01 00 00 ff 00', { ...bypasses, handler: requestSense }),
  row(0x12, 'INQUIRY', '01 ff ff ff 00', { ...bypasses, handler: inquiry }),
  row(0x15, 'MODE SELECT(6)', '11 00 00 ff 00', {
    ...reserves,
    reservation: write,
    handler: modeSelect6,
  }),
  row(0x16, 'RESERVE(6)', '00 00 00 00 00', { ...acts, reservation, handler: reserve6 }),
  row(0x17, 'RELEASE(6)', '00 00 00 00 00', { ...acts, reservation, handler: release6 }),
  row(0x1a, 'MODE SENSE(6)', '08 ff ff ff 00', { ...reads, timeouts: quick, handler: modeSense6 }),
  row(0x1b, 'START STOP UNIT', '01 00 0f f7 00', {
    ...caches,
    reservation: start,
    handler: startStopUnit,
  }),
  row(0x1d, 'SEND DIAGNOSTIC', '17 00 00 00 00', {
    ...acts,
    reservation: write,
    handler: sendDiagnostic,
  }),
  row(0x1e, 'PREVENT ALLOW MEDIUM REMOVAL', '00 00 00 03 00', {
    ...acts,
    reservation: allow,
    handler: preventAllow,
  }),
  row(0x25, 'READ CAPACITY(10)', '00 00 00 00 00 00 00 00 00', {
    ...tells,
    reservation: persistent,
    handler: readCapacity10,
  }),
  row(0x4d, 'LOG SENSE', '00 ff ff 00 ff ff ff ff 00', { ...tells, handler: logSense }),
  row(0x55, 'MODE SELECT(10)', '11 00 00 00 00 00 ff ff 00', {
    ...reserves,
    reservation: write,
    handler: modeSelect10,
  }),
  row(0x5a, 'MODE SENSE(10)', '18 ff ff 00 00 00 ff ff 00', {
    ...reads,
    timeouts: quick,
    handler: modeSense10,
  }),
  row(0xa0, 'REPORT LUNS', '00 ff 00 00 00 ff ff ff ff 00 00', {
    ...bypasses,
    handler: reportLuns,
  }),
];

const actionRows: readonly CommandRow[] = [
  action([0x9e, 0x10], 'READ CAPACITY(16)', `1f 00 00 00 00 00 00 00 00 ff ff ff ff 00 00`, {
    ...tells,
    reservation: persistent,
    handler: readCapacity16,
  }),
  action([0x9e, 0x12], 'GET LBA STATUS', `1f ${range16}`, {
    ...reads,
    timeouts: quick,
    handler: getLbaStatus,
  }),
  action([0xa3, 0x0a], 'REPORT TARGET PORT GROUPS', 'ff 00 00 00 00 ff ff ff ff 00 00', {
    ...tells,
    handler: reportTargetPortGroups,
  }),
  action([0xa3, 0x0c], 'REPORT SUPPORTED OPERATION CODES', '1f 87 ff ff ff ff ff ff ff 00 00', {
    ...tells,
    handler: reportSupportedOpcodes,
  }),
  action(
    [0xa3, 0x0d],
    'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    '1f 80 00 00 00 ff ff ff ff 00 00',
    {
      ...tells,
      handler: reportSupportedManagement,
    },
  ),
];

const readRows: readonly CommandRow[] = [
  row(0x08, 'READ(6)', '1f ff ff ff 00', { ...reads, handler: read6 }),
  row(0x28, 'READ(10)', `1a ${range10}`, { ...reads, handler: read10 }),
  row(0xa8, 'READ(12)', `1a ${range12}`, { ...reads, handler: read12 }),
  row(0x88, 'READ(16)', `1a ${range16}`, { ...reads, handler: read16 }),
  // Testers send group numbers here; nobody is harmed when they are looked at and mean nothing.
  row(0x34, 'PRE-FETCH(10)', '02 ff ff ff ff 1f ff ff 00', { ...caches, handler: prefetch10 }),
  row(0x90, 'PRE-FETCH(16)', '02 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00', {
    ...caches,
    handler: prefetch16,
  }),
  row(0x2f, 'VERIFY(10)', `16 ${range10}`, { ...checks, handler: verify10 }),
  row(0xaf, 'VERIFY(12)', `16 ${range12}`, { ...checks, handler: verify12 }),
  row(0x8f, 'VERIFY(16)', `16 ${range16}`, { ...checks, handler: verify16 }),
];

const writeRows: readonly CommandRow[] = [
  row(0x0a, 'WRITE(6)', '1f ff ff ff 00', { ...writes, handler: write6 }),
  row(0x2a, 'WRITE(10)', `1a ${range10}`, { ...writes, handler: write10 }),
  row(0xaa, 'WRITE(12)', `1a ${range12}`, { ...writes, handler: write12 }),
  row(0x8a, 'WRITE(16)', `1a ${range16}`, { ...writes, handler: write16 }),
  row(0x2e, 'WRITE AND VERIFY(10)', `16 ${range10}`, { ...writes, handler: writeAndVerify10 }),
  row(0xae, 'WRITE AND VERIFY(12)', `16 ${range12}`, { ...writes, handler: writeAndVerify12 }),
  row(0x8e, 'WRITE AND VERIFY(16)', `16 ${range16}`, { ...writes, handler: writeAndVerify16 }),
  row(0x8b, 'ORWRITE(16)', `1a ${range16}`, { ...writes, handler: orWrite16 }),
  row(0x89, 'COMPARE AND WRITE', '1a ff ff ff ff ff ff ff ff 00 00 00 ff 00 00', {
    ...writes,
    timeouts: quick,
    handler: compareAndWrite,
  }),
  row(0x41, 'WRITE SAME(10)', `08 ${range10}`, { ...sweeps, handler: writeSame10 }),
  row(0x93, 'WRITE SAME(16)', `09 ${range16}`, { ...sweeps, handler: writeSame16 }),
  row(0x42, 'UNMAP', '00 00 00 00 00 00 ff ff 00', { ...sweeps, handler: unmap }),
  row(0x35, 'SYNCHRONIZE CACHE(10)', `06 ${range10}`, {
    ...caches,
    reservation: write,
    handler: synchronizeCache10,
  }),
  row(0x91, 'SYNCHRONIZE CACHE(16)', `06 ${range16}`, {
    ...caches,
    reservation: write,
    handler: synchronizeCache16,
  }),
];

const reserveIn = { ...reserves, direction: 'in', handler: persistentReserveIn } as const;
const reserveOut = { ...reserves, handler: persistentReserveOut } as const;
const inUsage = '1f 00 00 00 00 00 ff ff 00';
const outUsage = '1f ff 00 00 ff ff ff ff 00';
const results = { ...reads, timeouts: quick, handler: receiveCopyResults } as const;
const resultsUsage = '1f ff 00 00 00 00 00 00 00 ff ff ff ff 00 00';

const sharingRows: readonly CommandRow[] = [
  action([0x5e, 0x00], 'PERSISTENT RESERVE IN, READ KEYS', inUsage, reserveIn),
  action([0x5e, 0x01], 'PERSISTENT RESERVE IN, READ RESERVATION', inUsage, reserveIn),
  action([0x5e, 0x02], 'PERSISTENT RESERVE IN, REPORT CAPABILITIES', inUsage, reserveIn),
  action([0x5e, 0x03], 'PERSISTENT RESERVE IN, READ FULL STATUS', inUsage, reserveIn),
  action([0x5f, 0x00], 'PERSISTENT RESERVE OUT, REGISTER', outUsage, reserveOut),
  action([0x5f, 0x01], 'PERSISTENT RESERVE OUT, RESERVE', outUsage, reserveOut),
  action([0x5f, 0x02], 'PERSISTENT RESERVE OUT, RELEASE', outUsage, reserveOut),
  action([0x5f, 0x03], 'PERSISTENT RESERVE OUT, CLEAR', outUsage, reserveOut),
  action([0x5f, 0x04], 'PERSISTENT RESERVE OUT, PREEMPT', outUsage, reserveOut),
  action([0x5f, 0x05], 'PERSISTENT RESERVE OUT, PREEMPT AND ABORT', outUsage, reserveOut),
  action([0x5f, 0x06], 'PERSISTENT RESERVE OUT, REGISTER AND IGNORE', outUsage, reserveOut),
  action([0x5f, 0x07], 'PERSISTENT RESERVE OUT, REGISTER AND MOVE', outUsage, reserveOut),
  // The unit it is sent to may be the source only: the handler looks at what is written itself.
  action([0x83, 0x00], 'EXTENDED COPY(LID1)', '1f 00 00 00 00 00 00 00 00 ff ff ff ff 00 00', {
    ...sweeps,
    changesMedium: false,
    handler: extendedCopy,
  }),
  action([0x84, 0x00], 'RECEIVE COPY STATUS(LID1)', resultsUsage, results),
  action([0x84, 0x01], 'RECEIVE COPY DATA(LID1)', resultsUsage, results),
  action([0x84, 0x03], 'RECEIVE COPY OPERATING PARAMETERS', resultsUsage, results),
  action([0x84, 0x04], 'RECEIVE COPY FAILURE DETAILS(LID1)', resultsUsage, results),
];

export const commandSet: readonly CommandRow[] = [
  ...unitRows,
  ...actionRows,
  ...readRows,
  ...writeRows,
  ...sharingRows,
];
