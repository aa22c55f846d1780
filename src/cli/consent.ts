/** `--force` and `--yes`, which both say: the operator knows what this destroys. */
import type { Command } from 'commander';

export interface Consent {
  readonly force?: boolean;
  readonly yes?: boolean;
}

export function withConsentOptions(command: Command): Command {
  return command
    .option('--force', 'do it even if data is lost, without asking')
    .option('--yes', 'the same as --force');
}

export function hasConsent(options: Consent): boolean {
  return options.force === true || options.yes === true;
}
