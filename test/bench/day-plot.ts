/** Draws lines over time as SVG, without a library. */

export interface Series {
  readonly name: string;
  /** Seconds, and a value; in order. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Plot {
  readonly title: string;
  /** Of the values. */
  readonly unit: string;
  readonly isLogarithmic: boolean;
  readonly series: readonly Series[];
  /** Seconds at which something happened. */
  readonly marks: readonly number[];
  /** A value that is not to be passed. */
  readonly goal?: number;
}

const width = 900;
const height = 320;
const left = 70;
const right = 150;
const top = 34;
const bottom = 34;
const colours = ['#1b6ca8', '#d1495b', '#2e933c', '#8e44ad', '#e08e0b', '#555555'];
/** A hole in the line: the engine was away. */
const gapSeconds = 10;
const smallestLog = 0.01;

interface Axis {
  readonly toY: (value: number) => number;
  readonly ticks: readonly number[];
}

function axisOf({ series, isLogarithmic, goal }: Plot): Axis {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  const most = values.reduce((max, value) => Math.max(max, value), goal ?? 0) || 1;
  const span = height - top - bottom;
  if (!isLogarithmic) {
    const step = niceStep(most / 5);
    const end = Math.ceil(most / step) * step;
    const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step);
    return { toY: (value) => height - bottom - (value / end) * span, ticks };
  }
  const low = Math.floor(Math.log10(lowest(values)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(most)));
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  const toY = (value: number): number => {
    const share = (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
    return height - bottom - share * span;
  };
  return { toY, ticks };
}

function lowest(values: readonly number[]): number {
  const least = values
    .filter((value) => value > 0)
    .reduce((min, value) => Math.min(min, value), Number.POSITIVE_INFINITY);
  return Math.max(smallestLog, Number.isFinite(least) ? least : smallestLog);
}

function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((each) => each * power >= rough) ?? 10;
  return factor * power;
}

function text(value: number): string {
  if (value >= 10_000) return `${Math.round(value / 1000)}k`;
  return String(Number(value.toPrecision(3)));
}

/** An SVG document. */
export function plotSvg(plot: Plot): string {
  const { toY, ticks } = axisOf(plot);
  const ends = plot.series.map(({ points }) => points.at(-1)?.[0] ?? 0);
  const endS = Math.max(1, ...ends);
  const toX = (seconds: number): number => left + (seconds / endS) * (width - left - right);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${left}" y="20" font-size="14">${plot.title} (${plot.unit})</text>`,
    ...ticks.map((tick) => horizontal(toY(tick), '#dddddd') + label(left - 6, toY(tick), tick)),
    ...plot.marks.map((mark) => vertical(toX(mark))),
    ...(plot.goal === undefined ? [] : [horizontal(toY(plot.goal), '#d1495b')]),
    ...timeTicks(endS).map(
      (seconds) =>
        `<text x="${toX(seconds).toFixed(1)}" y="${height - 12}" text-anchor="middle">${text(seconds / 60)} min</text>`,
    ),
    ...plot.series.map((series, index) => line(series, index, { toX, toY })),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function timeTicks(endS: number): number[] {
  const step = Math.max(30, niceStep(endS / 60 / 8) * 60);
  return Array.from({ length: Math.floor(endS / step) + 1 }, (_, index) => index * step);
}

function horizontal(y: number, colour: string): string {
  const at = y.toFixed(1);
  return `<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}" stroke="${colour}"/>`;
}

function vertical(x: number): string {
  const at = x.toFixed(1);
  return `<line x1="${at}" x2="${at}" y1="${top}" y2="${height - bottom}" stroke="#999999" stroke-dasharray="3 3"/>`;
}

function label(x: number, y: number, value: number): string {
  return `<text x="${x}" y="${(y + 4).toFixed(1)}" text-anchor="end">${text(value)}</text>`;
}

function line(
  { name, points }: Series,
  index: number,
  { toX, toY }: { readonly toX: (s: number) => number; readonly toY: (value: number) => number },
): string {
  const colour = colours[index % colours.length] ?? 'black';
  let path = '';
  let lastS = Number.NEGATIVE_INFINITY;
  for (const [seconds, value] of points) {
    path += `${seconds - lastS > gapSeconds ? 'M' : 'L'}${toX(seconds).toFixed(1)} ${toY(value).toFixed(1)}`;
    lastS = seconds;
  }
  const y = top + 14 + index * 18;
  return (
    `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.2"/>` +
    `<text x="${width - right + 10}" y="${y}" fill="${colour}">${name}</text>`
  );
}
