/**
 * The documents are checked like code: links lead somewhere, files and functions that they name exist, commands and
 * settings that they show are real, and the frame that `docs/formats.md` takes apart is one.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.ts';
import { settingsHelp } from '../../src/control/settings.ts';
import { slotSizeBytes } from '../../src/volume/format/address.ts';
import { Seeds } from '../../src/volume/format/checksum.ts';
import {
  blockCrc,
  decodeDescriptor,
  peekFrame,
  RecordType,
  verifyFrameHeader,
} from '../../src/volume/format/frame.ts';

const root = path.resolve(import.meta.dirname, '../..');
const documents = [
  'README.md',
  'test/README.md',
  ...fs
    .readdirSync(path.join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

function text(file: string): string {
  return fs.readFileSync(path.join(root, file), 'utf8');
}

/** Text without code blocks (indented or fenced), where links and headings are not what they look like. */
function prose(file: string): string {
  return text(file)
    .replaceAll(/^```[\s\S]*?^```/gm, '')
    .replaceAll(/^(?: {4}|\t).*$/gm, '');
}

/** What a heading is linked to by. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(/\s/g, '-');
}

function anchorsIn(file: string): string[] {
  return [...prose(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading));
}

/** Lines "document: what is wrong" for every part of the documents that `check` finds fault with. */
function faults(
  pattern: RegExp,
  check: (match: readonly string[], file: string) => boolean,
): string[] {
  return documents.flatMap((file) =>
    [...text(file).matchAll(pattern)]
      .filter((match) => !check(match, file))
      .map((match) => `${file}: ${match[0]}`),
  );
}

function isLinkGood(target: string, file: string): boolean {
  if (/^https?:/.test(target)) return true;
  const [name = '', anchor] = target.split('#');
  const linked = name === '' ? file : path.join(path.dirname(file), name);
  if (!fs.existsSync(path.join(root, linked))) return false;
  return anchor === undefined || anchorsIn(linked).includes(anchor);
}

describe('documents', () => {
  it('begin with their only title', () => {
    const wrong = documents.filter((file) => {
      const titles = prose(file).match(/^# .+$/gm) ?? [];
      return titles.length !== 1 || !text(file).startsWith('# ');
    });
    expect(wrong).toEqual([]);
  });

  it('link to what is there', () => {
    const wrong = faults(/\[[^\]\n]+\]\(([^)\s]+)\)/g, ([, target = ''], file) =>
      isLinkGood(target, file),
    );
    expect(wrong).toEqual([]);
  });

  it('name files that exist', () => {
    const wrong = faults(/`((?:src|test|docs)\/[\w./-]+)`/g, ([, name = '']) =>
      fs.existsSync(path.join(root, name)),
    );
    expect(wrong).toEqual([]);
  });

  it('trace through functions that are where they say', () => {
    const row = /^\|[^|]+\| `(src\/[\w./-]+\.ts)` \| ((?:`[\w.#]+`,? ?)+)\|/gm;
    let rowCount = 0;
    const wrong = faults(row, ([, file = '', names = '']) => {
      rowCount += 1;
      const source = text(file);
      const words = names.match(/\w+/g) ?? [];
      return words.every((word) => new RegExp(`\\b${word}\\b`).test(source));
    });
    expect(wrong).toEqual([]);
    expect(rowCount).toBeGreaterThan(20);
  });

  it('show npm scripts and tidemark commands that exist', () => {
    // The shape of package.json.
    const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };
    const wrongScripts = faults(/npm run (?:-s )?([a-z]\w*)/g, ([, name = '']) => name in scripts);
    expect(wrongScripts).toEqual([]);
    const command =
      /tidemark (?:-- )?(?:--\w+ \S+ |--json )*(pool|volume|snapshot|view|host|lun|session|portal|tls) ([a-z]+)/g;
    const wrongCommands = faults(command, ([, noun = '', verb = '']) =>
      new RegExp(`command\\('${verb}\\b`).test(text(`src/cli/${noun}.ts`)),
    );
    expect(wrongCommands).toEqual([]);
  });

  it('tell operators about every setting', () => {
    const guide = text('docs/operators-guide.md');
    const settings = settingsHelp().match(/--[a-z-]+ [A-Z]+|TIDEMARK_\w+/g) ?? [];
    expect(settings.length).toBeGreaterThan(10);
    expect(settings.filter((setting) => !guide.includes(setting))).toEqual([]);
  });
});

/** The frame that docs/formats.md shows, whole, and where it says that it lies. */
function shownFrame(): { bytes: Uint8Array; address: number; seeds: Seeds } {
  const shown =
    /<!-- frame: pool (\w+) address (\d+) data (\w\w) -->\n\n((?: {4}\w{4} {2}.*\n)+)/.exec(
      text('docs/formats.md'),
    );
  const [, pool = '', address = '', fill = '', dump = ''] = shown ?? [];
  const bytes = new Uint8Array(2 * slotSizeBytes).fill(Number.parseInt(fill, 16), slotSizeBytes);
  bytes.set(Buffer.from(dump.replaceAll(/^ {4}\w{4}|\s/gm, ''), 'hex'));
  const seeds = new Seeds(Buffer.from(pool, 'hex'));
  return { bytes, address: Number(address), seeds };
}

describe('the frame in docs/formats.md', () => {
  it('is one, and says what the document says', () => {
    const { bytes, address, seeds } = shownFrame();
    const frame = peekFrame(bytes, address, 8192);
    expect(frame).toMatchObject({ epoch: 1, hlcMs: 1_795_357_474_785, descriptors: 1 });
    if (frame === undefined) return;
    expect(verifyFrameHeader(bytes, frame, seeds)).toBe(true);
    expect(frame.crc).toBe(0x63c1_70d3);
    expect(frame.previousCrc).toBe(0xa3ca_a50c);
    expect(decodeDescriptor(bytes, frame, 0)).toMatchObject({
      type: RecordType.write,
      line: 1,
      lba: 10,
      blockCount: 1,
      address: address + 1,
      timeDelta: 38,
      writer: 1,
    });
    const crc = crc32c(bytes.subarray(slotSizeBytes), seeds.block(address + 1));
    expect(crc).toBe(0xc944_2faa);
    expect(blockCrc(bytes, frame, 0)).toBe(crc);
  });
});
