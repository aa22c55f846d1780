/**
 * tidemark bisect: finds the change that broke a volume, by halving.
 *
 *     good ─ c1 ─ c2 ─ ... ─ cn ─ bad        a view of the state behind the change in the middle, the command on it,
 *                  ▲ middle                  and on with one half, until one change is left
 *
 * Every view that it makes is deleted again, also when it is interrupted.
 */
import type { Command } from 'commander';
import { formatMomentTime } from '../base/moment.ts';
import { formatSize } from '../base/units.ts';
import { count } from '../base/words.ts';
import type { Changes, MomentPlace } from '../contract/history.ts';
import type { View } from '../contract/view.ts';
import type { Session } from './command-session.ts';
import { CommandFailure, ExitCode, usageFailure } from './failure.ts';
import { momentArgument, momentHelp, openMoment } from './moment-argument.ts';

/** From here on an exit code says that the command could not be run, or was killed: that is no verdict. */
const NO_VERDICT_FROM = 126;

interface BisectOptions {
  readonly good: string;
  readonly bad: string;
  readonly run: string;
}

type Change = NonNullable<Changes['middle']>;

interface Found {
  /** The last good moment: everything before this position. */
  readonly lastGood: { readonly at: string; readonly timeMs: number };
  /** What made it bad. */
  readonly firstBad: Change;
  readonly probes: number;
}

export function addBisectCommand(program: Command, session: () => Session): void {
  program
    .command('bisect <volume>')
    .description('find the last good moment of a volume, to the single write')
    .requiredOption('--good <moment>', `a moment when all was well: ${momentHelp}`)
    .requiredOption('--bad <moment>', 'a later moment when it was not')
    .requiredOption('--run <command>', 'exits 0 when all is well; {} stands for the NBD URI')
    .addHelpText(
      'after',
      [
        '',
        'The command runs in a shell, with TIDEMARK_NBD_URI, TIDEMARK_VIEW and TIDEMARK_MOMENT set; it may write to the',
        'view. Exit code 0 means good, 1 to 125 bad; any other ends the search.',
      ].join('\n'),
    )
    .action(async (volume: string, options: BisectOptions) => {
      await new Bisect(session(), volume, options).run();
    });
}

class Bisect {
  readonly #session: Session;
  readonly #volume: string;
  readonly #options: BisectOptions;
  #isInterrupted = false;
  #probes = 0;

  constructor(session: Session, volume: string, options: BisectOptions) {
    this.#session = session;
    this.#volume = volume;
    this.#options = options;
  }

  async run(): Promise<void> {
    this.#session.commands.onInterrupt(() => {
      this.#isInterrupted = true;
    });
    const session = this.#session;
    const { good, bad } = this.#options;
    let from = await openMoment(session, this.#volume, momentArgument(good));
    let to = await openMoment(session, this.#volume, momentArgument(bad));
    await this.#checkEnds(from, to);
    for (;;) {
      const { changeCount, middle } = await this.#changes(from, to);
      if (middle === undefined) throw nothingBetween(this.#volume, from, to);
      if (changeCount === 1) {
        this.#report(await this.#lastGood(from), middle);
        return;
      }
      this.#say(
        `${count(changeCount, 'change')} left, about ${count(stepsLeft(changeCount), 'more probe')}`,
      );
      const at = `position:${middle.position + 1}`;
      const probe = await openMoment(session, this.#volume, at);
      if (await this.#isGood(probe)) from = probe;
      else to = probe;
    }
  }

  /** The command must tell the two apart, else there is nothing to find. */
  async #checkEnds(from: MomentPlace, to: MomentPlace): Promise<void> {
    if (from.position >= to.position) {
      throw usageFailure(`${from.at} is not before ${to.at}`, '--good names the earlier moment');
    }
    if (!(await this.#isGood(from))) {
      throw usageFailure(`the command calls ${from.at} bad`, 'name an earlier --good');
    }
    if (await this.#isGood(to)) {
      throw usageFailure(`the command calls ${to.at} good`, 'name a later --bad');
    }
  }

  async #changes(from: MomentPlace, to: MomentPlace): Promise<Changes> {
    const query = new URLSearchParams({
      from: `position:${from.position}`,
      to: `position:${to.position}`,
    });
    const path = `/v1/volumes/${encodeURIComponent(this.#volume)}/changes?${query.toString()}`;
    return await this.#session.send<Changes>('GET', path);
  }

  /** Runs the command on a view of the moment. */
  async #isGood(moment: MomentPlace): Promise<boolean> {
    this.#checkInterrupted();
    this.#probes += 1;
    const unique = this.#session.clock.wallMs().toString(36).replace('.', '');
    const name = `bisect-${unique}-${this.#probes}`;
    const body = { source: this.#volume, name, at: `position:${moment.position}` };
    const view = await this.#session.send<View>('POST', '/v1/views', body);
    try {
      return await this.#verdict(view, moment);
    } finally {
      await this.#session.send('DELETE', `/v1/views/${name}?force=true`);
    }
  }

  async #verdict(view: View, moment: MomentPlace): Promise<boolean> {
    const [uri] = view.nbdUris;
    if (uri === undefined) {
      throw usageFailure('the daemon serves no NBD', 'see tidemark pool status');
    }
    this.#checkInterrupted();
    const line = this.#options.run.replaceAll('{}', quoted(uri));
    const { code, signal } = await this.#session.commands.run(line, {
      TIDEMARK_NBD_URI: uri,
      TIDEMARK_VIEW: view.name,
      TIDEMARK_MOMENT: formatMomentTime(moment.timeMs),
    });
    this.#checkInterrupted();
    if (code === undefined || code >= NO_VERDICT_FROM) {
      const how =
        code === undefined ? `was ended by ${signal ?? 'a signal'}` : `exited with ${code}`;
      const message = `the command ${how}, which is no verdict: ${line}`;
      throw new CommandFailure(ExitCode.failed, { code: 'conflict', message });
    }
    const verdict = code === 0 ? 'good' : 'bad';
    const place = `position ${moment.position}, ${formatMomentTime(moment.timeMs)}`;
    this.#say(`probe ${this.#probes}: ${place}: ${verdict}`);
    return code === 0;
  }

  #checkInterrupted(): void {
    if (!this.#isInterrupted) return;
    const message = 'interrupted; the views that it made are deleted';
    throw new CommandFailure(ExitCode.interrupted, { code: 'conflict', message });
  }

  /** The time of the newest change in it. */
  async #lastGood(place: MomentPlace): Promise<Found['lastGood']> {
    const at = `position:${place.position}`;
    const { timeMs } = await openMoment(this.#session, this.#volume, at);
    return { at, timeMs };
  }

  #report(lastGood: Found['lastGood'], firstBad: Change): void {
    const found: Found = { lastGood, firstBad, probes: this.#probes };
    this.#session.show(found, () =>
      [
        `last good moment: ${lastGood.at}, ${formatMomentTime(lastGood.timeMs)}`,
        `first bad change: ${changeText(firstBad)}, position ${firstBad.position}, ${formatMomentTime(firstBad.timeMs)}`,
        `keep it:    tidemark snapshot create ${this.#volume} last-good --at ${lastGood.at}`,
        `go back:    tidemark volume rollback ${this.#volume} --to ${lastGood.at}`,
      ].join('\n'),
    );
  }

  #say(text: string): void {
    if (!this.#session.isJson) this.#session.terminal.error(`${text}\n`);
  }
}

function changeText({ kind, offset, length }: Change): string {
  if (kind === 'resize') return 'a resize';
  if (kind === 'revert') return 'a rollback, undo or refresh';
  if (kind === 'several')
    return 'what was written since; of that time no moment in between is kept';
  return `${kind} of ${formatSize(length)} at byte ${offset}`;
}

function stepsLeft(changeCount: number): number {
  return Math.ceil(Math.log2(changeCount));
}

/** One word for the shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function nothingBetween(volume: string, from: MomentPlace, to: MomentPlace): CommandFailure {
  const message = `nothing of ${volume} changed between ${from.at} and ${to.at}, yet the command tells them apart`;
  const hint = 'a check that depends on something else than the volume cannot be searched for';
  return new CommandFailure(ExitCode.failed, { code: 'conflict', message, hint });
}
