/** A checkpoint's text says everything of a catalogue, and is read back as exactly that. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalogue } from '../../../../src/volume/catalogue/catalogue.ts';
import { cataloguePieces, catalogueText } from '../../../../src/volume/catalogue/catalogue-text.ts';
import {
  CheckpointCollector,
  parseCatalogue,
} from '../../../../src/volume/catalogue/checkpoint.ts';
import { CheckpointBuilder } from '../../../../src/volume/catalogue/checkpoint-builder.ts';
import { AckMode, type CheckpointPart } from '../../../../src/volume/catalogue/records.ts';
import { FormatError } from '../../../../src/volume/format/format-error.ts';
import { defaultSettings } from '../../../../src/volume/limits.ts';
import { finish } from '../../../../src/volume/steps.ts';
import { diceRolls, randomCatalogue } from '../../../support/random-catalogue.ts';

/** Everything that a catalogue answers; maps that are only looked things up in, in one order. */
function answers(catalogue: Catalogue): unknown {
  return {
    lines: [...catalogue.lines()],
    epochs: catalogue.epochs.map(({ epoch, openId, nodeUuid, startPosition }) => ({
      epoch,
      openId,
      nodeUuid,
      startPosition,
    })),
    volumes: catalogue.volumes().map((volume) => ({
      ...volume,
      pins: [...volume.pins],
      found: catalogue.volumeById(volume.uuid) === volume,
      named: catalogue.volume(volume.name) === volume,
    })),
    nextLine: catalogue.nextLine,
    volumeCount: catalogue.volumeCount,
    snapshotCount: catalogue.snapshotCount,
    currentLines: catalogue.currentLines().sort((left, right) => left - right),
    appliedPosition: catalogue.appliedPosition,
  };
}

function partsOf(catalogue: Catalogue, partBytes: number): CheckpointPart[] {
  const builder = new CheckpointBuilder(catalogue, partBytes);
  while (!builder.step(3)) continue;
  return builder.parts();
}

/** 200 volumes, pinned all at once again and again. */
function pinnedCatalogue(pinCount: number): Catalogue {
  const catalogue = new Catalogue();
  const lines: number[] = [];
  for (let index = 1; index <= 200; index += 1) {
    const uuid = new Uint8Array(16);
    new DataView(uuid.buffer).setUint32(0, index);
    const name = `vol${index}`;
    const fixed = { sizeBytes: 2 ** 30, naa: uuid, serial: name, ack: AckMode.durable };
    const line = catalogue.takeLine();
    lines.push(line);
    catalogue.apply({ kind: 'vol-create', line, uuid, name, createdMs: 0, ...fixed }, index * 8192);
  }
  for (let index = 0; index < pinCount / 200; index += 1) {
    const position = (1000 + index * 300) * 8192 * 2048;
    catalogue.apply({ kind: 'pin', timeMs: 1.7e12 + index * 60_000, lines }, position);
  }
  return catalogue;
}

describe('text of a catalogue', () => {
  it('is read back as the catalogue that it was made of', () => {
    fc.assert(
      fc.property(diceRolls, (rolls) => {
        const catalogue = randomCatalogue(rolls);
        const text = catalogueText(catalogue);
        const read = finish(parseCatalogue(text, catalogue.appliedPosition));
        expect(answers(read)).toEqual(answers(catalogue));
        expect(catalogueText(read)).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  it('leads to a catalogue that goes on as the first one', () => {
    fc.assert(
      fc.property(diceRolls, fc.nat(60), (rolls, at) => {
        const whole = randomCatalogue(rolls);
        const before = randomCatalogue(rolls.slice(0, at));
        const read = finish(parseCatalogue(catalogueText(before), before.appliedPosition));
        // The same dice fall the same way on both.
        expect(catalogueText(randomCatalogue(rolls.slice(at), { on: read, from: at }))).toBe(
          catalogueText(whole),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('is refused with a field too many, one too few, or a version that is not known', () => {
    const text = catalogueText(randomCatalogue([{ kind: 0, pick: 1, size: 5 }]));
    expect(() => finish(parseCatalogue(text, 1))).not.toThrow();
    for (const bad of [
      text.replace('"serial"', '"window":5,"serial"'),
      text.replace('"serial"', '"cereal"'),
      text.replace('"version":1', '"version":2'),
      text.replace('"lines":[', '"lines":[7,'),
      text.replace('"line":1', '"line":2'),
      text.slice(0, -1),
    ]) {
      expect(bad).not.toBe(text);
      expect(() => finish(parseCatalogue(bad, 1))).toThrow(FormatError);
    }
  });
});

describe('collector of checkpoints', () => {
  it('gives the text of a whole one, wherever its parts begin, and nothing of one that was cut short', () => {
    const catalogue = new Catalogue();
    for (let index = 0; index < 1000; index += 1) {
      catalogue.apply(
        {
          kind: 'epoch',
          epoch: index + 1,
          nodeUuid: new Uint8Array(16),
          openId: new Uint8Array(16),
          startPosition: index,
        },
        index,
      );
    }
    const parts = partsOf(catalogue, 60_000);
    const [first, ...rest] = parts;
    if (first === undefined || rest.length === 0) throw new Error('the checkpoint is too short');
    const collector = new CheckpointCollector();
    expect(collector.add(first, 10)).toBeUndefined();
    // Cut short by a crash: another one begins.
    expect(collector.add(first, 20)).toBeUndefined();
    let text: string | undefined;
    rest.forEach((part, index) => {
      text = collector.add(part, 30 + index);
    });
    expect(text).toBe(catalogueText(catalogue));
    expect(collector.firstPosition).toBe(20);
    expect(collector.add(rest[0] ?? first, 40)).toBeUndefined();
  });
});

describe('builder of checkpoints', () => {
  it('makes the text of the whole catalogue, whatever a part can hold', () => {
    fc.assert(
      fc.property(diceRolls, fc.integer({ min: 4, max: 3000 }), (rolls, partBytes) => {
        const catalogue = randomCatalogue(rolls);
        const collector = new CheckpointCollector();
        const parts = partsOf(catalogue, partBytes);
        const texts = parts.map((part, index) => collector.add(part, index));
        expect(texts.pop()).toBe(catalogueText(catalogue));
        expect(texts.every((text) => text === undefined)).toBe(true);
        expect(parts.every(({ bytes }) => bytes.length <= partBytes)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('does a bounded part of 300,000 pins in one step', () => {
    const catalogue = pinnedCatalogue(300_000);
    const pieces = [...cataloguePieces(catalogue)];
    // A volume, or 32 pins of at most two numbers of 16 digits.
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(32 * 34);
    const { checkpointSlicePieces, checkpointPartBytes } = defaultSettings;
    const builder = new CheckpointBuilder(catalogue, checkpointPartBytes);
    let steps = 1;
    while (!builder.step(checkpointSlicePieces)) steps += 1;
    expect(steps).toBe(Math.ceil((pieces.length + 1) / checkpointSlicePieces));
    const text = builder
      .parts()
      .map(({ bytes }) => Buffer.from(bytes).toString())
      .join('');
    expect(text).toBe(catalogueText(catalogue));
    expect(text).toBe(pieces.join(''));
  });
});
