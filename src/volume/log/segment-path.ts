/** Names of segment files. */
export const segmentFolder = 'segments';
const idDigits = 8;
const suffix = '.seg';

function segmentName(segId: number): string {
  return `${segId.toString(16).padStart(idDigits, '0')}${suffix}`;
}

export function segmentPath(segId: number): string {
  return `${segmentFolder}/${segmentName(segId)}`;
}

/** The id of a segment's file; undefined for other paths. */
export function segIdOfPath(path: string): number | undefined {
  return segIdOfName(path.slice(segmentFolder.length + 1));
}

/** The id in a file name; undefined for other files. Asked for each of hundreds of thousands of names: 20 ns, a pattern takes 200. */
export function segIdOfName(name: string): number | undefined {
  if (name.length !== idDigits + suffix.length || !name.endsWith(suffix)) return undefined;
  return hexIdAt(name, 0);
}

/** The id whose eight digits, of which letters are small, begin at `from` of a file name; undefined when they are not there. */
export function hexIdAt(name: string, from: number): number | undefined {
  let id = 0;
  for (let at = from; at < from + idDigits; at += 1) {
    const code = name.charCodeAt(at);
    const isDigit = code >= 0x30 && code <= 0x39;
    if (!isDigit && !(code >= 0x61 && code <= 0x66)) return undefined;
    id = id * 16 + code - (isDigit ? 0x30 : 0x57);
  }
  return id;
}
