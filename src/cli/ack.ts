/** When a volume answers writes, as an operator chooses it and is told what it risks. */
import { Option } from 'commander';
import type { Ack } from '../contract/volume.ts';

const writeBackRisk =
  "a power loss or crash of the appliance's machine can lose writes that were answered since the guest's last flush; " +
  'a crash of the tidemark process alone loses nothing';

/** `--ack durable|write-back` */
export function ackOption(): Option {
  const modes: Ack[] = ['durable', 'write-back'];
  return new Option('--ack <mode>', 'answer writes when durable, or when written').choices(modes);
}

/** Names and values for `show`: the mode, and with write-back what it risks. */
export function ackFacts(ack: Ack): [string, string][] {
  if (ack === 'durable') return [['writes are', 'durable when answered']];
  return [
    ['writes are', 'answered when written, durable after a flush (write-back)'],
    ['risk', writeBackRisk],
  ];
}

/** A line to add to what was done, empty for durable volumes. */
export function riskLine(ack: Ack): string {
  return ack === 'durable' ? '' : `\nwrite-back: ${writeBackRisk}`;
}
