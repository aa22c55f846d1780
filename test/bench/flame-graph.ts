/** Flame graphs: V8's sampled profiles as trees of functions, and those as SVG. */
import path from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    readonly lineNumber: number;
  };
  readonly children?: readonly number[];
}

/** A .cpuprofile, the part of it that is read here. */
export interface Profile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of the nodes that were on top, in time order. */
  readonly samples: readonly number[];
}

interface Frame {
  readonly name: string;
  samples: number;
  readonly children: Map<string, Frame>;
}

export interface Stacks {
  readonly root: Frame;
  /** Samples in which the thread did something. */
  readonly samples: number;
  readonly total: number;
}

/** On top of the stack while a thread waits; the last three are the engine's own. */
const idleNames: ReadonlySet<string> = new Set([
  '(idle)',
  '(program)',
  '(root)',
  'sleepUntilRung',
  'lookForMore',
  'pause',
]);

function nameOf(node: ProfileNode): string {
  const { functionName, url, lineNumber } = node.callFrame;
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${path.basename(url)}:${lineNumber + 1}`;
}

/** The tree of functions, callers below. */
export function stacksOf(profile: Profile): Stacks {
  const nodeById = new Map(profile.nodes.map((node) => [node.id, node]));
  const parentById = new Map<number, number>();
  for (const node of profile.nodes) {
    for (const child of node.children ?? []) parentById.set(child, node.id);
  }
  const root: Frame = { name: 'all', samples: 0, children: new Map() };
  for (const sample of profile.samples) {
    const top = nodeById.get(sample)?.callFrame.functionName ?? '';
    if (idleNames.has(top)) continue;
    const stack: string[] = [];
    for (let id: number | undefined = sample; id !== undefined; id = parentById.get(id)) {
      const node = nodeById.get(id);
      if (node !== undefined) stack.unshift(nameOf(node));
    }
    add(root, stack.slice(1));
  }
  return { root, samples: root.samples, total: profile.samples.length };
}

function add(root: Frame, stack: readonly string[]): void {
  let frame = root;
  frame.samples += 1;
  for (const name of stack) {
    let child = frame.children.get(name);
    if (child === undefined) {
      child = { name, samples: 0, children: new Map() };
      frame.children.set(name, child);
    }
    child.samples += 1;
    frame = child;
  }
}

const widthPixels = 1200;
const rowPixels = 17;
const charPixels = 6.6;
/** Narrower ones are left out. */
const pixelsMin = 3;

/** Rows of what is wide enough to be drawn. */
function depthOf(frame: Frame, samplesMin: number): number {
  const drawn = [...frame.children.values()].filter((child) => child.samples >= samplesMin);
  return 1 + Math.max(0, ...drawn.map((child) => depthOf(child, samplesMin)));
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** A warm colour that a name always gets again. */
function colourOf(name: string): string {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 997;
  return `hsl(${15 + (hash % 40)} 85% ${58 + (hash % 14)}%)`;
}

/** An SVG document; hover tells name, samples and share. */
export function drawFlames(stacks: Stacks, title: string): string {
  const samplesMin = (pixelsMin / widthPixels) * stacks.samples;
  const height = (depthOf(stacks.root, samplesMin) + 2) * rowPixels;
  const boxes: string[] = [];
  const draw = (frame: Frame, left: number, depth: number): void => {
    const width = (frame.samples / Math.max(1, stacks.samples)) * widthPixels;
    if (frame.samples < samplesMin) return;
    const top = height - (depth + 1) * rowPixels;
    const share = ((100 * frame.samples) / Math.max(1, stacks.samples)).toFixed(1);
    const chars = Math.floor((width - 4) / charPixels);
    const label = chars < 3 ? '' : escape(frame.name.slice(0, chars));
    boxes.push(
      `<g><title>${escape(frame.name)}: ${frame.samples} samples, ${share} %</title>` +
        `<rect x="${left.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="${rowPixels - 1}" fill="${colourOf(frame.name)}"/>` +
        `<text x="${(left + 2).toFixed(1)}" y="${top + 12}">${label}</text></g>`,
    );
    let at = left;
    for (const child of [...frame.children.values()].sort((a, b) => b.samples - a.samples)) {
      draw(child, at, depth + 1);
      at += (child.samples / Math.max(1, stacks.samples)) * widthPixels;
    }
  };
  draw(stacks.root, 0, 0);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${widthPixels}" height="${height}" font-family="monospace" font-size="11">`,
    '<rect width="100%" height="100%" fill="white"/>',
    `<text x="4" y="13" font-size="13">${escape(title)}: ${stacks.samples} samples</text>`,
    ...boxes,
    '</svg>\n',
  ].join('\n');
}
