import { describe, expect, it } from 'vitest';
import { encodeRecord } from '../../../src/volume/catalogue/records.ts';
import { FormatError } from '../../../src/volume/format/format-error.ts';
import { RecordType } from '../../../src/volume/format/frame.ts';
import { LeafStore } from '../../../src/volume/map/leaf-store.ts';
import { CatalogueReplay, MapReplay } from '../../../src/volume/recovery/replay.ts';
import { finish } from '../../../src/volume/steps.ts';

const line = 1;
const noPayload = new Uint8Array(0);

function entry(type: number, position: number): Parameters<MapReplay['apply']>[0] {
  const data = { address: 0, lba: 0, blockCount: 1, timeDelta: 0, flags: 0, writer: 0 };
  return { ...data, type, position, line };
}

/** The first pass over a log that holds one volume of one block. */
function replayOfVolume(): CatalogueReplay {
  const replay = new CatalogueReplay('first record');
  const { payload } = encodeRecord({
    kind: 'vol-create',
    line,
    uuid: new Uint8Array(16),
    name: 'lun0',
    sizeBytes: 4096,
    naa: new Uint8Array(16),
    serial: '',
    ack: 0,
    createdMs: 0,
  });
  finish(replay.apply(entry(RecordType.volCreate, 1), () => payload));
  return replay;
}

/** Both passes over that volume and one more record. */
function applyOneMore(type: number): void {
  const { catalogue } = replayOfVolume();
  const wanted = [{ line, before: Number.POSITIVE_INFINITY }];
  const maps = new MapReplay(new LeafStore(), catalogue, wanted, undefined);
  const last = entry(type, 2);
  maps.apply(last);
  finish(replayOfVolume().apply(last, () => noPayload));
}

describe('replay', () => {
  it('refuses every record type that it cannot apply, below 128', () => {
    const { write, zero, trim, clone } = RecordType;
    const applied = new Set<number>([write, zero, trim, clone]);
    for (let type = 0; type < 16; type += 1) {
      const apply = (): void => {
        applyOneMore(type);
      };
      if (applied.has(type)) expect(apply).not.toThrow();
      else expect(apply, `type ${type}`).toThrow(FormatError);
    }
    for (const type of [RecordType.view, RecordType.pad, 34, 127]) {
      const apply = (): void => {
        applyOneMore(type);
      };
      expect(apply, `type ${type}`).toThrow(FormatError);
    }
  });

  it('puts what a CLONE shares into the map', () => {
    const { catalogue } = replayOfVolume();
    const wanted = [{ line, before: Number.POSITIVE_INFINITY }];
    const maps = new MapReplay(new LeafStore(), catalogue, wanted, undefined);
    maps.apply({ ...entry(RecordType.clone, 2), address: 8200 });
    const shown = maps.finish().get(line);
    expect(shown?.map.lookup(0)).toBe(8200);
    expect(shown?.map.mappedBlocks).toBe(1);
    expect(shown?.lastPosition).toBe(2);
  });

  it('passes over unknown record types from 128 on', () => {
    const replay = replayOfVolume();
    for (const type of [128, 255]) replay.apply(entry(type, type), () => noPayload);
    expect(replay.records).toHaveLength(1);
  });
});
