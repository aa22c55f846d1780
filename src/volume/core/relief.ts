/**
 * Relief: what a pool that fills up does, mildest first. Each step is told to the log when it begins and when it ends.
 *
 *     use    soft ─────────────────────────────────────────── hard
 *            cleaner  ............................................    what is dead is reclaimed, the harder the fuller it is
 *                     windows ....................................    windows that are not guaranteed become shorter
 *                             pins ...............................    automatic pins go, the oldest tiers first
 *            throttle ............................................    writes are slowed down, more and more
 *                                                         refuse      thin volumes take no new data
 *
 * Beside these it is told when the file system has less than the capacity, or less than was promised to thick volumes.
 */
import type { Clock, Log } from '../../base/ports.ts';
import type { ReliefEvent, ReliefStep } from '../reports.ts';

const texts: Readonly<Record<ReliefStep, readonly [string, string]>> = {
  'file-system': [
    'the file system has less than the capacity of the pool',
    'the file system has the whole capacity of the pool again',
  ],
  reserves: [
    'the file system has less than what is kept for thick volumes',
    'the file system has what is kept for thick volumes again',
  ],
  cleaner: ['cleaning goes harder', 'cleaning goes on as usual'],
  windows: ['windows become shorter', 'windows grow again'],
  pins: ['automatic pins are given up', 'automatic pins are kept again'],
  throttle: ['writes are slowed down', 'writes go at full speed again'],
  refuse: ['thin volumes take no new data', 'thin volumes take new data again'],
};
const eventsMax = 100;

export class Relief {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #events: ReliefEvent[] = [];

  constructor(host: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = host.clock;
    this.#log = host.log;
  }

  /** The newest ones, oldest first. */
  events(): readonly ReliefEvent[] {
    return this.#events;
  }

  isOn(step: ReliefStep): boolean {
    return this.#lastOf(step)?.endedMs === undefined && this.#lastOf(step) !== undefined;
  }

  /** Notes whether a step is being taken, when that changed; `fields` are for the log. */
  set(step: ReliefStep, isOn: boolean, fields: Readonly<Record<string, unknown>>): void {
    if (isOn === this.isOn(step)) return;
    const [beginning, end] = texts[step];
    if (isOn) {
      this.#log.warn(`space is short: ${beginning}`, { step, ...fields });
      this.#add({ step, text: beginning, beganMs: this.#clock.wallMs() });
      return;
    }
    this.#log.info(`space: ${end}`, { step, ...fields });
    const last = this.#lastOf(step);
    if (last !== undefined) last.endedMs = this.#clock.wallMs();
  }

  #add(event: ReliefEvent): void {
    this.#events.push(event);
    if (this.#events.length > eventsMax) this.#events.shift();
  }

  #lastOf(step: ReliefStep): ReliefEvent | undefined {
    return this.#events.findLast((event) => event.step === step);
  }
}
