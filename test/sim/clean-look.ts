/**
 * Looks at what a pool with a cleaner must show: heads, snapshots, past moments, and pins, each of which shows for ever what it
 * showed when it was seen first.
 */
import { present } from '../../src/base/assert.ts';
import type { Outcome } from '../../src/base/errors.ts';
import type { BlockDevice } from '../../src/device/block-device.ts';
import type { OpenChanges, OpenSnapshot } from '../../src/volume/pool.ts';
import type { KeptVolume, PoolModel } from './clean-model.ts';
import { readNumbers } from './history-look.ts';
import { contentOf } from './history-model.ts';
import { Violation } from './oracle.ts';
import type { SeededRandom } from './random.ts';
import type { StoreProcess } from './store-process.ts';

const eventsMax = 400_000;
const notesLookedAt = 6;

interface Looked {
  /** The model, with pins that were seen first. */
  readonly model: PoolModel;
  readonly comparisons: number;
}

/** Compares everything that must be there, and some past moments. Throws Violation. */
export function lookAtAll(process: StoreProcess, model: PoolModel, random: SeededRandom): Looked {
  const look = new Look(process, model);
  for (const [name, { blocks }] of model.volumes) look.require(process.openVolume(name), blocks);
  for (const [key, blocks] of model.snapshots) {
    const opened = openSnapshot(process, key);
    look.require(opened.device, blocks);
    opened.close();
  }
  for (let left = notesLookedAt; left > 0; left -= 1) look.requireNote(random);
  const pins = new Map(model.pins);
  for (const [name, volume] of model.volumes) look.requirePins(name, volume, pins);
  return { model: { ...model, pins }, comparisons: look.comparisons };
}

/** Throws Violation when a device shows something else. */
export function requireBlocks(
  process: StoreProcess,
  device: BlockDevice,
  blocks: readonly number[],
): void {
  new Look(process, undefined).require(device, blocks);
}

/** A snapshot by its name in the model. */
export function openSnapshot(process: StoreProcess, key: string): OpenSnapshot {
  const [volume = '', name = ''] = key.split('@');
  const opened = answerOf<OpenSnapshot>(process, `open ${key}`, (done) => {
    process.pool.snapshotOpen(volume, name, done);
  });
  if (!opened.ok) throw new Violation(`open ${key}: ${opened.error.message}`);
  return opened.value;
}

class Look {
  readonly #process: StoreProcess;
  readonly #model: PoolModel | undefined;
  comparisons = 0;

  constructor(process: StoreProcess, model: PoolModel | undefined) {
    this.#process = process;
    this.#model = model;
  }

  require(device: BlockDevice, blocks: readonly number[]): void {
    const seen = this.#seen(device);
    const expected = textOf(blocks);
    if (seen === expected) return;
    throw new Violation(`${device.name} differs\n  is        ${seen}\n  should be ${expected}`);
  }

  /** A past moment: of a volume that keeps all it must be there, of another it is as it was or refused. */
  requireNote(random: SeededRandom): void {
    const { notes, volumes } = present(this.#model, 'model');
    const note = notes.length === 0 ? undefined : random.pick(notes);
    const known = [...(note?.volumes ?? [])].find(([name, { id }]) => volumes.get(name)?.id === id);
    if (note === undefined || known === undefined) return;
    const [name, { blocks }] = known;
    const at = `position:${note.position}`;
    const opened = this.#openAt(name, at);
    if (opened.ok) {
      this.require(opened.value.device, blocks);
      opened.value.close();
    } else if (volumes.get(name)?.keepsAll === true) {
      throw new Violation(`${name} at ${at} was given up: ${opened.error.message}`);
    }
  }

  requirePins(name: string, { id }: KeptVolume, known: Map<string, string>): void {
    const { pool } = this.#process;
    const cuts = Array.from(pool.volume(name).pins, ({ cut }) => cut);
    for (const cut of cuts) {
      const opened = this.#openAt(name, `position:${cut}`);
      if (!opened.ok) {
        // Its time may have come meanwhile.
        if (pool.volume(name).pins.indexOf(cut) < 0) continue;
        throw new Violation(`the pin of ${name} at ${cut} is refused: ${opened.error.message}`);
      }
      const seen = this.#seen(opened.value.device);
      opened.value.close();
      const key = `${id}:${cut}`;
      const before = known.get(key);
      if (before === undefined) this.#requireState(name, cut, seen);
      else if (before !== seen) {
        throw new Violation(`the pin of ${name} at ${cut} held ${before}, and holds ${seen}`);
      }
      known.set(key, seen);
    }
  }

  /** What a pin shows is what the volume held then, or what was being written to it. */
  #requireState(name: string, cut: number, seen: string): void {
    const { notes, volumes } = present(this.#model, 'model');
    const id = volumes.get(name)?.id;
    const own = notes.filter((note) => note.volumes.get(name)?.id === id);
    const at = own.findLastIndex(({ position }) => position <= cut);
    const states = own
      .slice(Math.max(0, at), at + 2)
      .map((note) => textOf(note.volumes.get(name)?.blocks ?? []));
    if (states.includes(seen)) return;
    throw new Violation(`a pin of ${name} at ${cut} holds ${seen}, not ${states.join(' or ')}`);
  }

  #seen(device: BlockDevice): string {
    this.comparisons += 1;
    return readNumbers(this.#process, device).join(' ');
  }

  #openAt(volume: string, at: string): Outcome<OpenChanges> {
    return answerOf<OpenChanges>(this.#process, `${volume} at ${at}`, (done) => {
      this.#process.pool.changesOpen({ volume, at, since: at }, done);
    });
  }
}

function textOf(blocks: readonly number[]): string {
  return blocks.map(contentOf).join(' ');
}

function answerOf<T>(
  process: StoreProcess,
  what: string,
  call: (done: (outcome: Outcome<T>) => void) => void,
): Outcome<T> {
  const answers: Outcome<T>[] = [];
  call((answer) => {
    answers.push(answer);
  });
  process.runUntil(() => answers.length > 0, eventsMax, what);
  return present(answers[0], 'answer');
}
