import { describe, expect, it } from 'vitest';
import { deletionRefusal, type Loss } from '../../../src/engine/deletion.ts';

const nothing: Loss = {
  name: 'db',
  kind: 'volume',
  sizeBytes: 1 << 30,
  dataBytes: 0,
  snapshots: [],
  connectionCount: 0,
  maps: [],
};

function refusal(change: Partial<Loss>): string | undefined {
  return deletionRefusal({ ...nothing, ...change })?.message;
}

describe('the refusal of a deletion', () => {
  it('is none when nothing would be lost', () => {
    expect([refusal({}), refusal({ kind: 'view' })]).toEqual([undefined, undefined]);
  });

  it.each<[string, Partial<Loss>]>([
    ['destroys 4 KiB of data', { dataBytes: 4096 }],
    ['destroys its data (not counted yet)', { dataBytes: undefined }],
    ['destroys 2 snapshots (a, b)', { snapshots: ['a', 'b'] }],
    ['drops 1 NBD connection', { connectionCount: 1 }],
    ['takes it away from host a (LUN 3)', { maps: [{ host: 'a', lun: 3 }] }],
    [
      'destroys 4 KiB of data and 1 snapshot (a), and drops 2 NBD connections, and takes it away from host a (LUN 3), host b (LUN 3)',
      {
        dataBytes: 4096,
        snapshots: ['a'],
        connectionCount: 2,
        maps: ['a', 'b'].map((host) => ({ host, lun: 3 })),
      },
    ],
    [
      'destroys 10 snapshots (0, 1, 2, 3, 4, 5, 6, 7 and 2 more)',
      { snapshots: Array.from({ length: 10 }, (_, index) => String(index)) },
    ],
  ])('says: %s', (what, change) => {
    expect(refusal(change)).toBe(
      `deleting volume db (1 GiB) ${what}; its past moments go with it, and this cannot be undone`,
    );
    expect(deletionRefusal({ ...nothing, ...change })?.code).toBe('needs-force');
  });

  it('of a view counts what was written to it, and says that its source stays', () => {
    expect(refusal({ kind: 'view', dataBytes: 8192 })).toBe(
      'deleting view db (1 GiB) destroys 8 KiB written to it; its past moments go with it, and this cannot be undone; its source stays as it is',
    );
  });
});
