/**
 * CmdSN and StatSN of one session, RFC 7143 sections 4.2.2.1 and 4.2.2.2.
 *
 *     ... done │ in flight │ expCmdSn ......... maxCmdSn │ not allowed
 *                └──────── windowSize ─────────────────┘
 *
 * Invariants
 * 1. MaxCmdSN never goes back: a command that is admitted moves ExpCmdSN only, one that ends moves MaxCmdSN.
 * 2. A StatSN is used once, in the order in which responses leave.
 */
import type { TargetNumbers } from './pdu/header.ts';
import { isSerialWithin, serialAdd } from './serial-number.ts';

export class SequenceNumbers implements TargetNumbers {
  expCmdSn: number;
  maxCmdSn: number;
  statSn: number;

  constructor(expCmdSn: number, statSn: number, windowSize: number) {
    this.expCmdSn = expCmdSn;
    this.maxCmdSn = serialAdd(expCmdSn, windowSize - 1);
    this.statSn = statSn;
  }

  /** Whether a non-immediate command with this number is to be looked at; else it is silently ignored. */
  isInWindow(cmdSn: number): boolean {
    return isSerialWithin(cmdSn, this.expCmdSn, this.maxCmdSn);
  }

  /** The command with number ExpCmdSN arrived, and takes a place of the window until `release`. */
  advance(): void {
    this.expCmdSn = serialAdd(this.expCmdSn, 1);
  }

  /** A command that was admitted is about to be answered. */
  release(): void {
    this.maxCmdSn = serialAdd(this.maxCmdSn, 1);
  }

  /** Puts the numbers into a PDU without using up a StatSN. */
  stamp(pdu: TargetNumbers): void {
    pdu.statSn = this.statSn;
    pdu.expCmdSn = this.expCmdSn;
    pdu.maxCmdSn = this.maxCmdSn;
  }

  /** Puts the numbers into a PDU that carries a status. */
  stampStatus(pdu: TargetNumbers): void {
    this.stamp(pdu);
    this.statSn = serialAdd(this.statSn, 1);
  }
}
