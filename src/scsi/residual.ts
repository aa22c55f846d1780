/**
 * How much of what the initiator expected did not move, RFC 7143 section 11.4.5. The only place that computes it.
 *
 *     expected   what the initiator said it would send or is ready to receive (EDTL)
 *     required   what the command moves: transfer length of the CDB, or min(allocation length, data)
 *     moved      what really moved
 *
 *     required > expected, and all that was expected moved   ──▶ overflow,  required − expected
 *     moved < expected                                       ──▶ underflow, expected − moved
 */

export interface Residual {
  residual: number;
  isOverflow: boolean;
  isUnderflow: boolean;
}

/** Sets the three fields of `result`; all counts are bytes. */
export function settleResidual(
  result: Residual,
  expected: number,
  required: number,
  moved: number,
): void {
  result.isOverflow = required > expected && moved === expected;
  result.isUnderflow = moved < expected;
  if (result.isOverflow) result.residual = required - expected;
  else result.residual = expected - moved;
}
