/**
 * What the iSCSI room needs to know of the outside: who may log in, where, and with which secrets. The engine implements
 * it from the last desired state it was given, in memory: nothing here may wait for the disk.
 */

/** Who asks. */
export interface InitiatorIdentity {
  /** Folded, see base/iscsi-name.ts. What it claims to be: CHAP proves it later, if the host has secrets. */
  readonly name: string;
  /** Address it connects from, without port: a host may be open only to loopback. */
  readonly address: string;
}

/** Secrets are bytes of the CHAP calculation, never logged. */
export interface ChapCredentials {
  /** Name and secret that the initiator must prove. */
  readonly userName: string;
  readonly secret: Uint8Array;
  /** Name and secret with which we prove ourselves when the initiator asks; both or none. */
  readonly outName?: string;
  readonly outSecret?: Uint8Array;
}

export interface PortalAddress {
  /** IPv4, IPv6 without brackets, or a host name. */
  readonly address: string;
  readonly port: number;
  /** Target portal group tag, 0..65535. */
  readonly group: number;
}

export interface TargetEntry {
  readonly name: string;
  readonly portals: readonly PortalAddress[];
}

export type TargetAccess =
  | {
      readonly kind: 'ok';
      /** Name of the host object that lets it in, for people. */
      readonly host: string;
      /** Absent: no authentication is asked for. */
      readonly chap?: ChapCredentials;
    }
  | {
      readonly kind: 'forbidden';
      /** For our log, never for the wire. */
      readonly reason: string;
    }
  | {
      /** `unavailable`: right name, but not served now (the pool is down): hosts try again, or another path. */
      readonly kind: 'notFound' | 'unavailable';
    };

export interface IscsiHosts {
  /** Every target that the initiator may see, for SendTargets. */
  targets(initiator: InitiatorIdentity): readonly TargetEntry[];
  /** Whether the initiator may log in to `targetName` (folded). */
  access(initiator: InitiatorIdentity, targetName: string): TargetAccess;
  /** What a discovery session of the initiator must prove; undefined = nothing. */
  discoveryChap(initiator: InitiatorIdentity): ChapCredentials | undefined;
}
