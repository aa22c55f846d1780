/** tidemark view ... */
import type { Command } from 'commander';
import { formatSize } from '../base/units.ts';
import type { View, ViewList, ViewsCreate } from '../contract/view.ts';
import type { Deleted, Volume } from '../contract/volume.ts';
import type { Session } from './command-session.ts';
import { type Consent, hasConsent, withConsentOptions } from './consent.ts';
import { usageFailure } from './failure.ts';
import { facts, formatTime, table } from './format.ts';
import { momentArgument, momentHelp, preparedMoment } from './moment-argument.ts';
import { madeText, volumeFacts } from './volume.ts';

export function addViewCommands(program: Command, session: () => Session): void {
  const view = program
    .command('view')
    .description('views: writable volumes over a moment of another one, made without copying')
    .addHelpText('after', '\nRename, resize, snapshot and roll back a view as a volume.');
  addReading(view, session);
  addChanging(view, session);
}

function addReading(view: Command, session: () => Session): void {
  view
    .command('list [volume]')
    .description('all views, or those of a volume')
    .action(async (volume: string | undefined) => {
      await viewList(session(), volume);
    });
  view
    .command('show <name>')
    .description('one view, and where clients reach it')
    .action(async (name: string) => {
      const current = session();
      const answer = await current.send<View>('GET', viewPath(name));
      current.show(answer, (shown) => viewText(shown, current.clock.wallMs()));
    });
}

function addChanging(view: Command, session: () => Session): void {
  view
    .command('create <volumes...>')
    .description('make a view of a volume or view; of several at one cut, all of them or none')
    .requiredOption('--at <moment>', momentHelp)
    .option('--name <name>', 'name of the view')
    .option('--name-suffix <suffix>', 'name each view as its volume with this behind it')
    .action(async (sources: string[], options: NameOptions & { readonly at: string }) => {
      const targets = viewTargets(sources, options);
      await viewCreate(session(), targets, momentArgument(options.at));
    });
  view
    .command('refresh <name>')
    .description('show another moment of the source; clients find it under the same name and ids')
    .requiredOption('--at <moment>', momentHelp)
    .option('--disconnect', 'do it while clients have it open: NBD is dropped, iSCSI is told')
    .action(async (name: string, options: { at: string; disconnect?: boolean }) => {
      const wanted = { at: momentArgument(options.at), disconnect: options.disconnect === true };
      await viewRefresh(session(), name, wanted);
    });
  view
    .command('promote <name>')
    .description('make a view a volume of its own; clients that have it open stay connected')
    .action(async (name: string) => {
      const current = session();
      const volume = await current.send<Volume>('POST', `${viewPath(name)}/promote`);
      current.show(volume, (made) => `${made.name} is a volume of its own now; nothing was copied`);
    });
  withConsentOptions(view.command('delete <name>'))
    .description('delete a view and its snapshots; its source stays as it is')
    .action(async (name: string, options: Consent) => {
      await viewDelete(session(), name, hasConsent(options));
    });
}

function viewPath(name: string): string {
  return `/v1/views/${encodeURIComponent(name)}`;
}

async function viewList(session: Session, source: string | undefined): Promise<void> {
  const query = source === undefined ? '' : `?source=${encodeURIComponent(source)}`;
  const list = await session.send<ViewList>('GET', `/v1/views${query}`);
  session.show(list, ({ views }) => {
    if (views.length === 0) {
      const whose = source === undefined ? 'no views' : `${source} has no views`;
      return `${whose}; make one with: tidemark view create ${source ?? 'VOL'} --at now --name NAME`;
    }
    const nowMs = session.clock.wallMs();
    const rows = views.map((each) => [
      each.name,
      sourceText(each),
      each.at,
      formatSize(each.sizeBytes),
      String(each.snapshotCount),
      String(each.connectionCount + each.sessionCount),
      formatTime(each.createdMs, nowMs),
    ]);
    const head = ['NAME', 'VIEW OF', 'AT', 'SIZE', 'SNAPSHOTS', 'CLIENTS', 'CREATED'];
    return table(head, rows, new Set(['SIZE', 'SNAPSHOTS', 'CLIENTS']));
  });
}

interface NameOptions {
  readonly name?: string;
  readonly nameSuffix?: string;
}

type ViewTarget = ViewsCreate['views'][number];

function viewTargets(
  sources: readonly string[],
  { name, nameSuffix }: NameOptions,
): readonly ViewTarget[] {
  if ((name === undefined) === (nameSuffix === undefined)) {
    throw usageFailure('give either --name or --name-suffix');
  }
  if (nameSuffix !== undefined) {
    return sources.map((source) => ({ source, name: `${source}${nameSuffix}` }));
  }
  if (sources.length > 1) {
    throw usageFailure(
      'views of several volumes need --name-suffix',
      'for example --name-suffix -test',
    );
  }
  return sources.map((source) => ({ source, name: name ?? '' }));
}

function createdText(made: View): string {
  return `view ${made.name} of ${sourceText(made)} at ${made.at} made${madeText(made)}`;
}

async function viewCreate(
  session: Session,
  targets: readonly ViewTarget[],
  at: string,
): Promise<void> {
  let moment = at;
  // The first one makes the cut; the others are opened there, too.
  for (const { source } of targets) moment = await preparedMoment(session, source, moment);
  const [only, ...others] = targets;
  if (only !== undefined && others.length === 0) {
    session.show(
      await session.send<View>('POST', '/v1/views', { ...only, at: moment }),
      createdText,
    );
    return;
  }
  const body = { at: moment, views: targets };
  const list = await session.send<ViewList>('POST', '/v1/views/together', body);
  session.show(list, ({ views }) => views.map(createdText).join('\n'));
}

async function viewRefresh(
  session: Session,
  name: string,
  wanted: { readonly at: string; readonly disconnect: boolean },
): Promise<void> {
  const { source } = await session.send<View>('GET', viewPath(name));
  // A source that was deleted is for the daemon to refuse.
  const at = source === undefined ? wanted.at : await preparedMoment(session, source, wanted.at);
  const body = { ...wanted, at };
  const view = await session.send<View>('POST', `${viewPath(name)}/refresh`, body);
  session.show(view, (shown) =>
    [
      `view ${shown.name} now shows ${sourceText(shown)} at ${shown.at}, ${formatSize(shown.sizeBytes)}`,
      `what it held before stays reachable: tidemark volume rollback ${shown.name} --undo`,
    ].join('\n'),
  );
}

async function viewDelete(session: Session, name: string, isForced: boolean): Promise<void> {
  const remove = async (force: boolean): Promise<Deleted> =>
    await session.send<Deleted>('DELETE', `${viewPath(name)}?force=${force}`);
  const answer = isForced ? await remove(true) : await session.withConsent(name, remove);
  session.show(answer, ({ deleted }) => `view ${deleted} deleted`);
}

function sourceText(view: View): string {
  return view.source ?? 'a deleted volume';
}

function viewText(view: View, nowMs: number): string {
  const [name, ...more] = volumeFacts(view, nowMs);
  const own: [string, string][] = [
    ['view of', sourceText(view)],
    ['at', view.at],
  ];
  return facts([...(name === undefined ? [] : [name]), ...own, ...more]);
}
