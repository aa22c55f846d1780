/**
 * SendTargets, RFC 7143 appendix C: which targets there are, and through which portals.
 *
 *     SendTargets=  │ discovery session         │ normal session
 *     All           │ every target it may see   │ its own target (the standard: not allowed)
 *     <name>        │ that one, if it may see it│ its own target, by its name only
 *     (empty)       │ Reject                    │ its own target
 *
 * An initiator learns of no target that it may not log in to.
 */
import { foldIscsiName } from '../base/iscsi-name.ts';
import type { InitiatorIdentity, IscsiHosts, PortalAddress, TargetEntry } from './hosts.ts';
import { Answer, type TextPair } from './keys.ts';

export const sendTargetsKey = 'SendTargets';
const allTargets = 'All';

export interface SendTargetsAsker {
  readonly initiator: InitiatorIdentity;
  /** Of its session; empty in a discovery session. */
  readonly targetName: string;
}

/**
 * `address:port,group`; IPv6 in brackets.
 * @internal tests look at it
 */
export function formatTargetAddress({ address, port, group }: PortalAddress): string {
  const host = address.includes(':') ? `[${address}]` : address;
  return `${host}:${port},${group}`;
}

function describe(target: TargetEntry): TextPair[] {
  return [
    { key: 'TargetName', value: target.name },
    ...target.portals.map((portal) => ({
      key: 'TargetAddress',
      value: formatTargetAddress(portal),
    })),
  ];
}

/** Name of the only target that is asked for; undefined for all, `false` when the value is not allowed here. */
function wantedTarget(value: string, ownName: string): string | undefined | false {
  const isDiscovery = ownName === '';
  if (value === allTargets) return isDiscovery ? undefined : ownName;
  if (value === '') return isDiscovery ? false : ownName;
  const name = foldIscsiName(value);
  return isDiscovery || name === ownName ? name : false;
}

/** The answer to `SendTargets=value`. */
export function sendTargets(value: string, asker: SendTargetsAsker, hosts: IscsiHosts): TextPair[] {
  const wanted = wantedTarget(value, asker.targetName);
  if (wanted === false) return [{ key: sendTargetsKey, value: Answer.reject }];
  const targets = hosts.targets(asker.initiator);
  const chosen =
    wanted === undefined ? targets : targets.filter(({ name }) => foldIscsiName(name) === wanted);
  return chosen.flatMap(describe);
}
