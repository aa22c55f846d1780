/** Names of segment files. */
export const segmentFolder = 'segments';
const idDigits = 8;
const namePattern = /^([0-9a-f]{8})\.seg$/;

function segmentName(segId: number): string {
  return `${segId.toString(16).padStart(idDigits, '0')}.seg`;
}

export function segmentPath(segId: number): string {
  return `${segmentFolder}/${segmentName(segId)}`;
}

/** The id of a segment's file; undefined for other paths. */
export function segIdOfPath(path: string): number | undefined {
  return segIdOfName(path.slice(segmentFolder.length + 1));
}

/** The id in a file name; undefined for other files. */
export function segIdOfName(name: string): number | undefined {
  const match = namePattern.exec(name);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}
