/** A checkpoint's text says everything of a catalogue, and is read back as exactly that. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Catalogue } from '../../../../src/volume/catalogue/catalogue.ts';
import {
  CheckpointCollector,
  catalogueText,
  checkpointParts,
  parseCatalogue,
} from '../../../../src/volume/catalogue/checkpoint.ts';
import { FormatError } from '../../../../src/volume/format/format-error.ts';
import { diceRolls, randomCatalogue } from '../../../support/random-catalogue.ts';

/** Everything that a catalogue answers; maps that are only looked things up in, in one order. */
function answers(catalogue: Catalogue): unknown {
  return {
    lines: catalogue.lines(),
    epochs: catalogue.epochs.map(({ epoch, openId, nodeUuid, startPosition }) => ({
      epoch,
      openId,
      nodeUuid,
      startPosition,
    })),
    volumes: catalogue.volumes().map((volume) => ({
      ...volume,
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

describe('text of a catalogue', () => {
  it('is read back as the catalogue that it was made of', () => {
    fc.assert(
      fc.property(diceRolls, (rolls) => {
        const catalogue = randomCatalogue(rolls);
        const text = catalogueText(catalogue);
        const read = parseCatalogue(text, catalogue.appliedPosition);
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
        const read = parseCatalogue(catalogueText(before), before.appliedPosition);
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
    expect(() => parseCatalogue(text, 1)).not.toThrow();
    for (const bad of [
      text.replace('"serial"', '"window":5,"serial"'),
      text.replace('"serial"', '"cereal"'),
      text.replace('"version":1', '"version":2'),
      text.replace('"lines":[', '"lines":[7,'),
      text.replace('"line":1', '"line":2'),
      text.slice(0, -1),
    ]) {
      expect(bad).not.toBe(text);
      expect(() => parseCatalogue(bad, 1)).toThrow(FormatError);
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
    const parts = checkpointParts(catalogue);
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
