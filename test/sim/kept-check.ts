/** Windows and pins of a store in the simulator: set, and looked at after a crash. */
import { parseCdpPolicy } from '../../src/base/cdp-policy.ts';
import type { Outcome } from '../../src/base/errors.ts';
import { Violation } from './oracle.ts';
import type { StoreProcess } from './store-process.ts';

const eventsMax = 50_000;

/** Begins to set it; what follows goes on beside. */
export function setPolicy(process: StoreProcess, volume: string, text: string): void {
  const policy = parseCdpPolicy(text);
  if (policy === undefined) throw new Error(`no policy: ${text}`);
  process.pool.retention.setPolicy({ volume, policy }, () => {});
}

/** Throws Violation when a horizon has passed what was to be pinned before, or a pin cannot be opened. */
export function requireKept(process: StoreProcess): void {
  for (const { name, policy, horizon, pins } of process.pool.volumes()) {
    const isPassed = horizon !== undefined && policy.tiers.length > 0;
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
