/** tidemark lun ... */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import type { Lun, LunList, LunMap, LunUnmapped } from '../contract/lun.ts';
import { riskLine } from './ack.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
import { usageFailure } from './failure.ts';
import { table } from './format.ts';

interface MapOptions {
  readonly lun?: string;
  readonly readOnly?: boolean;
}

interface ListOptions {
  readonly host?: string;
  readonly volume?: string;
}

export function addLunCommands(program: Command, session: () => Session): void {
  const lun = program.command('lun').description('LUNs: which volume a host sees, as which number');
  lun
    .command('map <volume> <host>')
    .description('show a volume (or view) to a host; the number stays as long as the map')
    .option('--lun <n>', 'number (default: as other hosts know the volume, or the lowest free)')
    .option('--read-only', 'the host may not write')
    .action(async (volume: string, host: string, options: MapOptions) => {
      await lunMap(session(), { volume, host }, options);
    });
  withConsentOptions(lun.command('unmap <volume> <host>'))
    .description('take a volume away from a host; the volume stays')
    .action(async (volume: string, host: string, options: Consent) => {
      await lunUnmap(session(), { volume, host }, hasConsent(options));
    });
  lun
    .command('list')
    .description('all LUNs, or those of a host or volume')
    .option('--host <host>', 'only what this host sees')
    .option('--volume <volume>', 'only who sees this volume')
    .action(async (options: ListOptions) => {
      await lunList(session(), options);
    });
}

async function lunMap(
  session: Session,
  wanted: Pick<LunMap, 'volume' | 'host'>,
  options: MapOptions,
): Promise<void> {
  const body: LunMap = {
    ...wanted,
    ...(options.lun === undefined ? {} : { lun: lunNumber(options.lun) }),
    ...(options.readOnly === true ? { isReadOnly: true } : {}),
  };
  const made = await session.send<Lun>('POST', '/v1/luns', body);
  session.show(made, (lun) => {
    const how = lun.isReadOnly ? ', read-only' : '';
    const uris = lun.iscsiUris.map((uri) => `\n  ${uri}`).join('');
    const head = `host ${lun.host} sees ${lun.volume} as LUN ${lun.lun}${how}`;
    return `${head}${uris}${riskLine(lun.ack ?? 'durable')}`;
  });
}

function lunNumber(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 16_383) return Number(text);
  throw usageFailure(`"${text}" is no LUN number`, 'numbers go from 0 to 16383');
}

async function lunUnmap(
  session: Session,
  { volume, host }: Pick<LunMap, 'volume' | 'host'>,
  isForced: boolean,
): Promise<void> {
  const path = `/v1/hosts/${encodeURIComponent(host)}/luns/${encodeURIComponent(volume)}`;
  const unmap = async (force: boolean): Promise<LunUnmapped> =>
    await session.send<LunUnmapped>('DELETE', `${path}?force=${force}`);
  const answer = isForced ? await unmap(true) : await session.withConsent(volume, unmap);
  session.show(
    answer,
    (gone) => `host ${gone.host} does not see ${gone.volume} (LUN ${gone.lun}) any more`,
  );
}

async function lunList(session: Session, options: ListOptions): Promise<void> {
  const query = new URLSearchParams({ ...options }).toString();
  const list = await session.send<LunList>('GET', `/v1/luns${query === '' ? '' : `?${query}`}`);
  session.show(list, ({ luns }) => {
    if (luns.length === 0) return 'no LUNs; map a volume with: tidemark lun map VOLUME HOST';
    const rows = luns.map((each) => [
      each.host,
      String(each.lun),
      each.volume,
      each.sizeBytes === undefined ? 'gone' : formatSize(each.sizeBytes),
      each.isReadOnly ? 'read-only' : 'read-write',
      each.naa === undefined ? '-' : `naa.${each.naa}`,
    ]);
    const head = ['HOST', 'LUN', 'VOLUME', 'SIZE', 'ACCESS', 'NAA'];
    return table(head, rows, new Set(['LUN', 'SIZE']));
  });
}
