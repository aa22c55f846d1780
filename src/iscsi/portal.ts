/** Where a connection came in. */
export interface Portal {
  /** As the initiator reached it, for people. */
  readonly address: string;
  readonly port: number;
  /** Target portal group tag. */
  readonly group: number;
  /** Relative target port identifier, from 1; the same portal has the same one as long as the engine runs. */
  readonly relativePort: number;
}
