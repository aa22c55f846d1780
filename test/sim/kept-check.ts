/** Windows and pins of a store in the simulator: set, and looked at after a crash. */
import { type CdpPolicy, parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { Violation } from './oracle.ts';
import type { StoreProcess } from './store-process.ts';

const eventsMax = 50_000;

/** Begins to set it, guaranteed when it has tiers; what follows goes on beside. */
export function setPolicy(process: StoreProcess, volume: string, text: string): void {
  const policy = parseCdpPolicy(text);
  if (policy === undefined) throw new Error(`no policy: ${text}`);
  process.pool.retention.setPolicy({ volume, policy, isGuaranteed: hasTiers(policy) }, () => {});
}

function hasTiers({ tiers }: CdpPolicy): boolean {
  return tiers.length > 0;
}

/** Throws Violation when a horizon has passed what was to be pinned before, a pin cannot be opened, or half a setting is left. */
export function requireKept(process: StoreProcess): void {
  for (const { name, policy, isGuaranteed, horizon, pins } of process.pool.volumes()) {
    if (isGuaranteed !== hasTiers(policy))
      throw new Violation(`${name}: half of a setting is left`);
    const isPassed = horizon !== undefined && hasTiers(policy);
    if (isPassed && pins.length === 0) throw new Violation(`the horizon of ${name} has no pin`);
    for (const { cut } of pins) requireMoment(process, name, `position:${cut}`);
  }
}

function requireMoment(process: StoreProcess, volume: string, at: string): void {
  const answers: Outcome<unknown>[] = [];
  process.pool.history.prepare(volume, at, (outcome) => {
    answers.push(outcome);
  });
  process.runUntil(() => answers.length > 0, eventsMax, `${volume} at ${at}`);
  const [answer] = answers;
  if (answer?.ok === false) throw new Violation(`${volume} at ${at}: ${answer.error.message}`);
}
