/** Login phase, RFC 7143 section 6.3. */
import type { SessionParameters } from './parameters.ts';

export type SessionKind = 'normal' | 'discovery';

/** What a login ended in: all that full feature phase needs to know. */
export interface LoginOutcome {
  readonly kind: SessionKind;
  /** Normalised. */
  readonly initiatorName: string;
  /** Empty when it gave none. */
  readonly initiatorAlias: string;
  /** Six bytes of its own. */
  readonly isid: Uint8Array;
  readonly tsih: number;
  readonly cid: number;
  /** Normalised; empty in a discovery session. */
  readonly targetName: string;
  readonly portalGroupTag: number;
  /** Name of the host object that let it in; empty in a discovery session. */
  readonly host: string;
  readonly parameters: SessionParameters;
  /** CmdSN of the first command. */
  readonly expCmdSn: number;
  /** StatSN of the next response. */
  readonly statSn: number;
}
