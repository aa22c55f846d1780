/**
 * Engine of `bench day`: the process of production, on a clock that goes faster. It says now and then on its standard output how
 * its event loop fares, one JSON object a line.
 *
 *     faster: time of the log, ages of moments, the steps of windows      as always: slices, rates, throttle, waits, time limits
 */
import { monitorEventLoopDelay, PerformanceObserver, performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { runEngine } from '../../src/engine/engine.ts';
import { systemClock } from '../../src/host/clock.ts';
import { defaultSettings } from '../../src/volume/limits.ts';
import { dayClock } from './day-clock.ts';

/** Of the main thread since the line before; milliseconds and bytes. */
export interface EngineSample {
  readonly timeMs: number;
  readonly pid: number;
  /** Delays of the event loop by share of the looks at it, a millisecond apart. */
  readonly delayMs: {
    readonly p50: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  /** Since this engine serves. */
  readonly wholeP999Ms: number;
  readonly wholeMaxMs: number;
  /** Part of the time in which the main thread worked. */
  readonly busyShare: number;
  readonly longestGcMs: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
  readonly externalBytes: number;
  /** Buffers of the main thread and those that threads share. */
  readonly bufferBytes: number;
}

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    'pool-dir': text,
    socket: text,
    'pool-size': text,
    'segment-slots': text,
    'sample-ms': text,
    'origin-ms': text,
    'origin-wall-ms': text,
    speed: text,
  },
});
const numbers = (name: keyof typeof values): number => Number(values[name]);
const speed = numbers('speed');
const fast = dayClock({
  originMs: numbers('origin-ms'),
  originWallMs: numbers('origin-wall-ms'),
  speed,
});

const nanosPerMs = 1e6;
const resolutionMs = 1;
const delays = monitorEventLoopDelay({ resolution: resolutionMs });
const wholeDelays = monitorEventLoopDelay({ resolution: resolutionMs });
let longestGcMs = 0;
let utilization = performance.eventLoopUtilization();

/** A timer of one millisecond that comes in time shows as one millisecond. */
function ms(nanos: number): number {
  return Math.max(0, nanos / nanosPerMs - resolutionMs);
}

function sample(): void {
  const since = performance.eventLoopUtilization(utilization);
  utilization = performance.eventLoopUtilization();
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const line: EngineSample = {
    timeMs: Date.now(),
    pid: process.pid,
    delayMs: {
      p50: ms(delays.percentile(50)),
      p99: ms(delays.percentile(99)),
      p999: ms(delays.percentile(99.9)),
      max: ms(delays.max),
    },
    wholeP999Ms: ms(wholeDelays.percentile(99.9)),
    wholeMaxMs: ms(wholeDelays.max),
    busyShare: since.utilization,
    longestGcMs,
    rssBytes: rss,
    heapBytes: heapUsed,
    externalBytes: external,
    bufferBytes: arrayBuffers,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  delays.reset();
  longestGcMs = 0;
}

new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longestGcMs = Math.max(longestGcMs, duration);
}).observe({ entryTypes: ['gc'] });

await runEngine({
  poolDir: values['pool-dir'] ?? '',
  pool: 'main',
  socket: values.socket ?? '',
  poolSizeBytes: numbers('pool-size'),
  firstVolume: undefined,
  store: {
    ...defaultSettings,
    cleaner: 'auto',
    segmentSlots: numbers('segment-slots'),
    retentionStepMs: Math.max(1, defaultSettings.retentionStepMs / speed),
  },
  clocks: {
    clock: { wallMs: () => fast.wallMs(), monotonicMs: () => systemClock.monotonicMs() },
    logClock: fast,
  },
});
delays.enable();
wholeDelays.enable();
setInterval(sample, numbers('sample-ms')).unref();
