/** What the daemon prints when it serves: the lines a person types next. */
import { formatSize } from '../base/units.ts';
import type { Pool } from '../contract/pool.ts';
import type { Volume } from '../contract/volume.ts';
import type { Settings } from './settings.ts';

/** Volumes named in the text; the rest is counted. */
const WELCOME_VOLUMES_MAX = 5;

export function welcomeText(settings: Settings, pool: Pool, volumes: readonly Volume[]): string {
  if (pool.state === 'read-only') return readOnlyText(settings, pool);
  const { recovery } = pool;
  const before = recovery.wasClean ? 'closed cleanly before' : 'recovered';
  const opened = pool.epoch === 1 ? 'new' : before;
  const lines = [
    '',
    `tidemark serves pool ${pool.name}: ${formatSize(pool.usedBytes)} of ${formatSize(pool.effectiveCapacityBytes)} used, ` +
      `${opened}, open in ${Math.round(recovery.durationMs)} ms`,
    `data in ${settings.dataDir}`,
    '',
  ];
  if (volumes.length === 0) lines.push('no volumes yet');
  for (const volume of volumes.slice(0, WELCOME_VOLUMES_MAX)) {
    lines.push(`volume ${volume.name} (${formatSize(volume.sizeBytes)})`);
    for (const uri of volumeUris(volume)) lines.push(`    ${uri}`);
  }
  const moreCount = volumes.length - WELCOME_VOLUMES_MAX;
  if (moreCount > 0) lines.push(`and ${moreCount} more: tidemark volume list`);
  return `${[...lines, '', ...nextLines(settings, volumes)].join('\n')}\n`;
}

function volumeUris({ nbdUris, luns }: Volume): string[] {
  return [...nbdUris, ...new Set(luns.flatMap(({ iscsiUris }) => iscsiUris))];
}

/** Nothing else matters then. */
function readOnlyText(settings: Settings, pool: Pool): string {
  const { tcp, socketPath } = pool.nbd;
  const socket = socketPath === undefined ? undefined : `nbd+unix:///?socket=${socketPath}`;
  const uri = socket ?? `nbd://${tcp?.address ?? ''}:${tcp?.port ?? ''}`;
  const cli = `npm run -s tidemark -- --data ${shellWord(settings.dataDir)}`;
  const lines = [
    '',
    `tidemark opened pool ${pool.name} READ-ONLY: ${pool.stateReason ?? 'it is damaged'}`,
    `data in ${settings.dataDir}`,
    '',
    'what to type next, in another terminal:',
    `    ${cli} pool verify`,
    `    nbdinfo --list ${shellWord(uri)}`,
    "see 'When a pool is read-only' in docs/operators-guide.md",
    '',
    'Ctrl-C stops it.',
  ];
  return `${lines.join('\n')}\n`;
}

function nextLines(settings: Settings, volumes: readonly Volume[]): string[] {
  const cli = `npm run -s tidemark -- --data ${shellWord(settings.dataDir)}`;
  const first = volumes[0];
  const uri = first?.nbdUris[0];
  // qemu takes no address that begins with nbds: it gets the unix socket then.
  const qemuUri = first?.nbdUris.findLast((each) => !each.startsWith('nbds:'));
  const lines = ['what to type next, in another terminal:'];
  if (first !== undefined && uri !== undefined && qemuUri !== undefined) {
    const word = shellWord(uri);
    lines.push(
      `    nbdinfo ${word}`,
      `    qemu-img convert -n -f qcow2 -O raw disk.qcow2 ${shellWord(qemuUri)}`,
      `    nbdcopy ${word} copy.img`,
      `    ${cli} snapshot create ${first.name} before`,
    );
  }
  const [iscsiUri] = first?.luns.flatMap(({ iscsiUris }) => iscsiUris) ?? [];
  if (iscsiUri !== undefined) lines.push(`    qemu-img info ${shellWord(iscsiUri)}`);
  if (settings.nbdTls === 'required') lines.push(`    ${cli} tls client NAME`);
  return [...lines, `    ${cli} pool status`, `    ${cli} --help`, '', 'Ctrl-C stops it.'];
}

/** Quotes what a shell would not take as one plain word. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
