/** Recorded conversations of real initiators with a real target: test/unit/iscsi/goldens, one PDU a line. */
import fs from 'node:fs';
import path from 'node:path';

export interface RecordedPdu {
  readonly isFromInitiator: boolean;
  readonly header: Buffer;
  /** Data segment; undefined when it was left out of the recording. */
  readonly data: Buffer | undefined;
}

const folder = path.resolve(import.meta.dirname, '../unit/iscsi/goldens');

export function readGolden(name: string): RecordedPdu[] {
  const lines = fs.readFileSync(path.join(folder, `${name}.txt`), 'utf8').split('\n');
  return lines
    .filter((line) => line.startsWith('>') || line.startsWith('<'))
    .map((line) => {
      const [direction, header, data = ''] = line.split(' ');
      return {
        isFromInitiator: direction === '>',
        header: Buffer.from(header ?? '', 'hex'),
        data: data === '-' ? undefined : Buffer.from(data, 'hex'),
      };
    });
}
