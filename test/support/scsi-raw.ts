/** Commands written as bytes, with everything that a transport sets, for tests of the device server itself. */
import { TaskAttribute } from '../../src/scsi/status.ts';
import { Exchange, type Initiator, type ScsiWorld } from './scsi-world.ts';

/** Bytes of hexadecimal text; spaces are for people. A CDB of 16 bytes or less is padded by `send`. */
export function hex(text: string): Uint8Array {
  const digits = text.replaceAll(' ', '');
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export interface RawCommand {
  readonly lun?: number;
  readonly out?: Uint8Array;
  /** What the initiator says it sends; default: all of `out`. */
  readonly outBytes?: number;
  /** What it is ready to receive; default 0 with data to send, else 64 KiB. */
  readonly inBytes?: number;
  readonly attribute?: TaskAttribute;
  /** It sends no more than this before `sendRest`. */
  readonly sendBytesMax?: number;
}

/** Submits a command; it may have ended when this returns. */
export function send(
  world: ScsiWorld,
  initiator: Initiator,
  cdb: string | Uint8Array,
  command: RawCommand = {},
): Exchange {
  const { out = new Uint8Array(0), sendBytesMax = Number.POSITIVE_INFINITY } = command;
  const exchange = new Exchange(world.timers, out, sendBytesMax);
  const { task } = exchange;
  task.nexus = initiator.nexus;
  task.lun = command.lun ?? 0;
  task.cdb = new Uint8Array(16);
  task.cdb.set(typeof cdb === 'string' ? hex(cdb) : cdb);
  task.attribute = command.attribute ?? TaskAttribute.simple;
  task.dataOutBytes = command.outBytes ?? out.length;
  task.dataInBytes = command.inBytes ?? (out.length > 0 ? 0 : 65_536);
  task.owner = exchange;
  world.target.submit(task);
  return exchange;
}

/** Submits a command and lets everything run until it ended. */
export function ask(
  world: ScsiWorld,
  initiator: Initiator,
  cdb: string | Uint8Array,
  command: RawCommand = {},
): Exchange {
  const exchange = send(world, initiator, cdb, command);
  world.run();
  if (!exchange.isDone) throw new Error('the command does not end');
  return exchange;
}

/** "good", "5/24/00", or the status in hexadecimal. */
export function outcome(exchange: Exchange): string {
  if (exchange.senseText !== '') return exchange.senseText;
  return exchange.status === 0 ? 'good' : `status ${exchange.status.toString(16)}`;
}

/** `length` bytes that differ from place to place. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 1) bytes[at] = (at * 7 + seed * 31 + (at >> 8)) & 0xff;
  return bytes;
}
