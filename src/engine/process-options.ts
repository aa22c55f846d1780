/**
 * How the process of an engine is started: options of V8 and of the C library that bound the memory which both keep for later.
 * What the engine needs is small and steady; what its allocators keep beside it grew for as long as it ran.
 *
 * Measured in `npm run bench -- day` (200 volumes and clients, a pool of 8 GiB; parts of RSS 4 minutes after the load began, without
 * these options, and what was in use, after a collection of garbage and by malloc_stats):
 *
 *     part                           RSS        in use
 *     V8's heaps of three threads    118 MiB    36 MiB
 *     heaps of malloc                127 MiB    91 MiB (buffers of the main thread 63)
 *     the rest: program, maps, code  103 MiB
 */

/**
 * V8 lets the young generation have 32 MiB twice: 54 MiB of the main thread's were there, with hardly anything alive in them, and
 * came and went with the load. With 8 it is 16 MiB.
 */
const semiSpaceMiB = 8;

/**
 * The old generation is collected when it is so much larger than what was alive in it before, in percent; V8 by itself waits for
 * three times that: 22 MiB became 74 and 22 again every few minutes. Measured with a program that makes garbage as the engine does, 10 s
 * on a loaded machine: 14 such collections for 8, 3 % more processor, RSS 248 for 288 MiB.
 */
const heapGrowingPercent = 100;

/** Arguments of Node.js that go before the entry's path. */
export const engineNodeArguments: readonly string[] = [
  `--max-semi-space-size=${semiSpaceMiB}`,
  `--heap-growing-percent=${heapGrowingPercent}`,
];

/**
 * Variables of its environment. `cacheFolder` is for compiled code, which is kept so that an engine that must be started again serves
 * sooner.
 */
export function engineVariables(cacheFolder: string): Record<string, string> {
  return {
    NODE_COMPILE_CACHE: cacheFolder,
    // glibc makes up to 16 heaps for the threads of two processors, and each keeps what was freed in it.
    MALLOC_ARENA_MAX: '2',
    // Else the first large buffer that is freed (4 MiB of a run's tables) makes all smaller ones come from those heaps, where what
    // lies behind one that is in use stays. These are what glibc begins with; that they are named makes them stay.
    MALLOC_MMAP_THRESHOLD_: '131072',
    MALLOC_TRIM_THRESHOLD_: '131072',
  };
}
