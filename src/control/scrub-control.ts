/** What the API may do with the scrubber. */
import type { Scrub, ScrubStart } from '../contract/scrub.ts';
import type { EngineMethods } from '../engine/protocol.ts';
import type { EngineAccess } from './pool-control.ts';

export class ScrubControl {
  readonly #engine: EngineAccess;

  constructor(engine: EngineAccess) {
    this.#engine = engine;
  }

  async status(): Promise<Scrub> {
    return scrubOf(await this.#engine.call('scrubStatus', {}));
  }

  async start(wanted: ScrubStart): Promise<Scrub> {
    return scrubOf(await this.#engine.call('scrubStart', wanted));
  }

  async pause(): Promise<Scrub> {
    return scrubOf(await this.#engine.call('scrubPause', {}));
  }
}

function scrubOf({ findings, ...status }: EngineMethods['scrubStatus']['result']): Scrub {
  return {
    ...status,
    findings: findings.map(({ presentIn, ...finding }) =>
      presentIn === undefined ? finding : { ...finding, presentIn: [...presentIn] },
    ),
  };
}
