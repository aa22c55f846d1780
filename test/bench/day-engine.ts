/**
 * Engine of `bench day`: the process of production, on a clock that goes faster. It says now and then on its standard output how
 * its event loop fares, one JSON object a line.
 *
 *     faster: time of the log, ages of moments, the steps of windows      as always: slices, rates, throttle, waits, time limits
 */
import { readFileSync } from 'node:fs';
import {
  constants,
  createHistogram,
  monitorEventLoopDelay,
  PerformanceObserver,
  performance,
} from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { runEngine } from '../../src/engine/engine.ts';
import { ENGINE_NICE } from '../../src/engine/limits.ts';
import { claimPool } from '../../src/engine/pool-claim.ts';
import { systemClock } from '../../src/host/clock.ts';
import { raisePriority } from '../../src/host/threads.ts';
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
  /**
   * Of its own processor time between two looks, a millisecond apart: the part of the delays that is the engine's own work. The
   * rest it waited for a processor that load, sampling or its own threads had, or for the disk.
   */
  readonly workMs: { readonly p50: number; readonly p999: number; readonly max: number };
  /** Part of the time in which the main thread could have worked, but had no processor. */
  readonly waitShare: number;
  /** Whether the engine could have itself go before the load. */
  readonly hasPriority: boolean;
  /** Since this engine serves. */
  readonly wholeP999Ms: number;
  readonly wholeMaxMs: number;
  readonly wholeWorkP999Ms: number;
  /** Part of the time in which the main thread worked. */
  readonly busyShare: number;
  readonly longestGcMs: number;
  readonly longestGcKind: string;
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
const microsPerMs = 1000;
const work = createHistogram();
const wholeWork = createHistogram();
let longestGcMs = 0;
let longestGcKind = '';
let utilization = performance.eventLoopUtilization();
let usage = process.threadCpuUsage();
let waited = waitedNanos();
let sampledMs = performance.now();

/** A timer of one millisecond that comes in time shows as one millisecond. */
function ms(nanos: number): number {
  return Math.max(0, nanos / nanosPerMs - resolutionMs);
}

/** Of the main thread, in the queue of a processor: the second number of the kernel's line about it. */
function waitedNanos(): number {
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[1]);
}

function lookAtWork(): void {
  const now = process.threadCpuUsage();
  // A histogram takes no zero.
  const micros = Math.max(1, now.user + now.system - usage.user - usage.system);
  usage = now;
  work.record(micros);
  wholeWork.record(micros);
}

function sample(): void {
  const since = performance.eventLoopUtilization(utilization);
  utilization = performance.eventLoopUtilization();
  const nowMs = performance.now();
  const waitedNow = waitedNanos();
  const waitShare = (waitedNow - waited) / nanosPerMs / (nowMs - sampledMs);
  waited = waitedNow;
  sampledMs = nowMs;
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
    workMs: {
      p50: work.percentile(50) / microsPerMs,
      p999: work.percentile(99.9) / microsPerMs,
      max: work.max / microsPerMs,
    },
    waitShare,
    hasPriority,
    wholeP999Ms: ms(wholeDelays.percentile(99.9)),
    wholeMaxMs: ms(wholeDelays.max),
    wholeWorkP999Ms: wholeWork.percentile(99.9) / microsPerMs,
    busyShare: since.utilization,
    longestGcMs,
    longestGcKind,
    rssBytes: rss,
    heapBytes: heapUsed,
    externalBytes: external,
    bufferBytes: arrayBuffers,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  delays.reset();
  work.reset();
  longestGcMs = 0;
}

const gcKinds: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'young generation',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'whole heap',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'step of the whole heap',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'callbacks',
};

new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.duration <= longestGcMs) continue;
    longestGcMs = entry.duration;
    // Node's own types leave out what entries about garbage have besides.
    longestGcKind = gcKinds[(entry as unknown as { detail: { kind: number } }).detail.kind] ?? '';
  }
}).observe({ entryTypes: ['gc'] });

const hasPriority = raisePriority(ENGINE_NICE);
await runEngine({
  claim: claimPool(values['pool-dir'] ?? ''),
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
setInterval(lookAtWork, resolutionMs).unref();
setInterval(sample, numbers('sample-ms')).unref();
