/** tidemark portal ... */
import type { Command } from 'commander';
import { isIpAddress } from '../base/ip-address.ts';
import type { Portal, PortalAdd, PortalList } from '../contract/portal.ts';
import type { Session } from './command-session.ts';
import { usageFailure } from './failure.ts';
import { table } from './format.ts';

const DEFAULT_PORT = 3260;

export function addPortalCommands(program: Command, session: () => Session): void {
  const portal = program
    .command('portal')
    .description('portals: the addresses under which initiators find the target');
  portal
    .command('list')
    .description('all portals, and the name of the target')
    .action(async () => {
      const current = session();
      current.show(await current.send<PortalList>('GET', '/v1/portals'), portalsText);
    });
  portal
    .command('add <address>')
    .description('listen on another address of this machine: 10.0.0.5, 10.0.0.5:3261, [fd00::5]')
    .option('--group <tag>', 'portal group tag (default 1)')
    .action(async (address: string, { group }: { readonly group?: string }) => {
      const current = session();
      const wanted = { ...portalArgument(address), ...groupOption(group) };
      const answer = await current.send<PortalList>('POST', '/v1/portals', wanted);
      current.show(answer, portalsText);
    });
  portal
    .command('remove <address>')
    .description('listen there no more; sessions that came in there stay')
    .action(async (address: string) => {
      const current = session();
      const { address: host, port = DEFAULT_PORT } = portalArgument(address);
      const path = `/v1/portals/${encodeURIComponent(host)}/${port}`;
      current.show(await current.send<PortalList>('DELETE', path), portalsText);
    });
}

/** "10.0.0.5", "10.0.0.5:3261", "fd00::5", "[fd00::5]:3261", "::1:13260". Throws CommandFailure `usage`. */
function portalArgument(text: string): Pick<PortalAdd, 'address' | 'port'> {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? bareIpv6(text);
  if (match === undefined) {
    const hint = 'write 10.0.0.5, 10.0.0.5:3261 or [fd00::5]:3261';
    throw usageFailure(`"${text}" is no address`, hint);
  }
  const [, ipv6, other = '', port] = match;
  const address = ipv6 ?? other;
  return port === undefined ? { address } : { address, port: Number(port) };
}

/** IPv6 without brackets, perhaps with a port: as the expression for all others matches, or undefined. */
function bareIpv6(text: string): (string | undefined)[] | undefined {
  const [, before = '', port] = /^(.*):(\d{1,5})$/.exec(text) ?? [];
  const hasPort = before.includes(':') && isIpAddress(before);
  if (!isIpAddress(text)) return hasPort ? [text, before, '', port] : undefined;
  if (!hasPort) return [text, text];
  const message = `"${text}" is an address as it stands, and also ${before} with port ${port}`;
  throw usageFailure(message, `write [${before}]:${port} or [${text}]`);
}

function groupOption(text: string | undefined): Pick<PortalAdd, 'group'> {
  if (text === undefined) return {};
  if (/^\d{1,5}$/.test(text)) return { group: Number(text) };
  throw usageFailure(`"${text}" is no portal group tag`, 'tags go from 1 to 65535');
}

function portalsText({ targetName, portals }: PortalList): string {
  if (portals.length === 0) return 'iSCSI is off: start the daemon with --iscsi-port N';
  const head = ['ADDRESS', 'PORT', 'GROUP', 'FROM', 'STATE'];
  const text = table(head, portals.map(rowOf), new Set(['PORT', 'GROUP']));
  return `${text}\ntarget ${targetName}`;
}

function rowOf({ address, port, group, origin, fault }: Portal): string[] {
  return [address, String(port), String(group), origin, fault ?? 'open'];
}
