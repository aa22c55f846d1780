/**
 * Scrubber: reads all that is stored, slowly, again and again, so that what rots is found while there are copies of it.
 *
 *     off ──start──▶ running ◀──pause/start──▶ paused          pass: segment ─▶ segment ─▶ ... ─▶ index runs ─▶ superblock, manifest
 *                     │   ▲
 *                     ▼   │ a day after the pass before began
 *                    waiting
 *
 * The keeper reads, a piece at a time; this paces it. It changes nothing. What it finds is logged as an error and listed; what
 * a pass found stays listed until the next one has ended. Where it is survives restarts, findings do not: the pass after finds them again.
 */
import type { Timer } from '../../base/ports.ts';
import { formatSize } from '../../base/units.ts';
import type { Maintenance } from '../core/maintenance.ts';
import type { PoolParts } from '../core/parts.ts';
import { durableEndOf, durableEnds } from '../core/segment-end.ts';
import { addressOf, slotSizeBytes } from '../format/address.ts';
import type { RunPlace } from '../index/run-format.ts';
import type { SegmentEnd } from '../keeper-jobs.ts';
import { defaultSettings } from '../limits.ts';
import type { SegmentState } from '../recovery/segment-table.ts';
import type { ScrubFault, ScrubFinding, ScrubPass, ScrubStatus } from '../reports.ts';
import { scrubLimits } from './limits.ts';
import { decodeNote, encodeNote } from './note.ts';

type Segment = SegmentEnd & { readonly isSealed: boolean };

export class Scrubber {
  readonly #parts: PoolParts;
  readonly #maintenance: Maintenance;
  readonly #runs: () => readonly RunPlace[];
  #state: ScrubStatus['state'] = 'off';
  #bytesPerSecond: number = defaultSettings.scrubBytesPerSecond;
  #passStartedMs: number | undefined;
  /** The segment that is looked at, or the first one that was not yet. */
  #segId = 0;
  #segmentsDone = 0;
  #blocksChecked = 0;
  #lastPass: ScrubPass | undefined;
  #findings: ScrubFinding[] = [];
  #findingCount = 0;
  /** Of the pass before: shown until this one has ended. */
  #older: { readonly findings: readonly ScrubFinding[]; readonly count: number } | undefined;
  #timer: Timer | undefined;
  /** The keeper works for it. */
  #isAsking = false;
  #bytesLogged = 0;

  /** `runs`: the index runs that there are. */
  constructor(parts: PoolParts, maintenance: Maintenance, runs: () => readonly RunPlace[]) {
    this.#parts = parts;
    this.#maintenance = maintenance;
    this.#runs = runs;
  }

  /** The pool is open. Goes on where an earlier process was, unless scrubbing is off (a rate of 0 in the settings). */
  open(): void {
    const { scrubBytesPerSecond } = this.#parts.settings;
    if (scrubBytesPerSecond === 0 || this.#parts.writer === undefined) return;
    this.#bytesPerSecond = scrubBytesPerSecond;
    this.#state = 'waiting';
    this.#maintenance.ask<'scrub-note'>({ kind: 'scrub-note', save: undefined }, ({ text }) => {
      if (this.#state !== 'waiting') return;
      const note = decodeNote(text);
      if (note !== undefined) {
        this.#bytesPerSecond = note.bytesPerSecond;
        this.#lastPass = note.lastPass;
        this.#passStartedMs = note.passStartedMs;
        this.#segId = note.segId;
        this.#blocksChecked = note.blocksChecked;
      }
      if (note?.isPaused === true) this.#state = 'paused';
      else if (this.#passStartedMs !== undefined) this.#run(scrubLimits.firstStepAfterMs);
      else this.#wait();
    });
  }

  /** The pool closes. */
  close(): void {
    this.#timer?.cancel();
    if (this.#state !== 'off') this.#note();
    this.#state = 'off';
  }

  /** Goes on with a pass, or begins one now. `bytesPerSecond` is kept for the future. */
  start(bytesPerSecond: number | undefined): void {
    if (bytesPerSecond !== undefined) this.#bytesPerSecond = bytesPerSecond;
    this.#run(0);
    this.#note();
  }

  pause(): void {
    this.#timer?.cancel();
    this.#state = 'paused';
    this.#note();
  }

  status(): ScrubStatus {
    const isPass = this.#passStartedMs !== undefined;
    const found = this.#older ?? { findings: [], count: 0 };
    return {
      state: this.#state,
      bytesPerSecond: this.#bytesPerSecond,
      segmentsDone: isPass ? this.#segmentsDone : 0,
      segmentCount: this.#parts.segmentById.size,
      ...(this.#passStartedMs === undefined ? {} : { passStartedMs: this.#passStartedMs }),
      ...(this.#state === 'waiting' ? { nextPassMs: this.#nextPassMs() } : {}),
      ...(this.#lastPass === undefined ? {} : { lastPass: this.#lastPass }),
      findingCount: this.#findingCount + found.count,
      findings: [...this.#findings, ...found.findings].slice(0, scrubLimits.findingsMax),
    };
  }

  #nextPassMs(): number {
    const nowMs = this.#parts.host.clock.wallMs();
    if (this.#lastPass === undefined) return nowMs + scrubLimits.firstStepAfterMs;
    return Math.max(nowMs, this.#lastPass.startedMs + scrubLimits.passEveryMs);
  }

  #wait(): void {
    this.#state = 'waiting';
    const delayMs = this.#nextPassMs() - this.#parts.host.clock.wallMs();
    this.#after(Math.max(delayMs, scrubLimits.firstStepAfterMs), () => {
      this.#run(0);
    });
  }

  #after(delayMs: number, action: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.host.timers.after(delayMs, action);
  }

  #run(delayMs: number): void {
    this.#state = 'running';
    if (this.#passStartedMs === undefined) this.#beginPass();
    this.#after(delayMs, () => {
      this.#step();
    });
  }

  #beginPass(): void {
    this.#passStartedMs = this.#parts.host.clock.wallMs();
    this.#segId = 0;
    this.#segmentsDone = 0;
    this.#blocksChecked = 0;
    this.#older = { findings: this.#findings, count: this.#findingCount };
    this.#findings = [];
    this.#findingCount = 0;
  }

  #step(): void {
    if (this.#state !== 'running' || this.#isAsking) return;
    const segment = this.#segmentFrom(this.#segId);
    if (segment === undefined) {
      this.#checkRuns(0);
      return;
    }
    const index = this.#parts.segmentById.indexOf(segment.segId);
    const isFirst = this.#segmentFrom(0)?.segId === segment.segId;
    this.#segId = segment.segId;
    this.#segmentsDone = index;
    const { clock } = this.#parts.host;
    const startedMs = clock.monotonicMs();
    const { segId } = segment;
    this.#isAsking = true;
    const step = { segment, bytes: this.#stepBytes(), isFirst };
    this.#maintenance.ask<'scrub'>({ kind: 'scrub', segId, ...step }, (result) => {
      this.#isAsking = false;
      if (this.#passStartedMs === undefined) return;
      this.#blocksChecked += result.blocks;
      for (const fault of result.faults) this.#found(fault);
      if (result.isFinished) {
        this.#segId = segId + 1;
        this.#segmentsDone = index + 1;
        if (index % scrubLimits.segmentsPerNote === 0) this.#note();
      }
      if (this.#state !== 'running') return;
      const wantedMs = (result.blocks * slotSizeBytes * 1000) / this.#rate();
      this.#after(Math.max(0, wantedMs - (clock.monotonicMs() - startedMs)), () => {
        this.#step();
      });
    });
  }

  #stepBytes(): number {
    const { stepBytesMin, stepBytesMax, stepsPerSecond } = scrubLimits;
    const wanted = this.#bytesPerSecond / stepsPerSecond;
    return Math.max(stepBytesMin, Math.min(stepBytesMax, wanted));
  }

  /** Bytes a second: fewer while clients write. */
  #rate(): number {
    const { writer, staging } = this.#parts;
    const bytesLogged = writer?.log.bytesLogged ?? 0;
    const isBusy =
      bytesLogged - this.#bytesLogged >= scrubLimits.busyBytes ||
      staging.sizeBytes - staging.freeBytes >= scrubLimits.busyBytes;
    this.#bytesLogged = bytesLogged;
    return isBusy ? this.#bytesPerSecond / scrubLimits.busyFactor : this.#bytesPerSecond;
  }

  /** The first segment from `firstSegId` on of which something is durable. */
  #segmentFrom(firstSegId: number): Segment | undefined {
    const { segmentById } = this.#parts;
    for (let index = segmentById.indexOf(firstSegId); ; index += 1) {
      const state = segmentById.at(index);
      if (state === undefined) return undefined;
      const segment = this.#durable(state);
      if (segment !== undefined) return segment;
    }
  }

  /** What is durable of a segment; undefined = nothing but its header. */
  #durable({ segId, isSealed }: SegmentState): Segment | undefined {
    const endAddress = durableEndOf(this.#parts, segId);
    return endAddress <= addressOf(segId, 1) ? undefined : { segId, endAddress, isSealed };
  }

  /** The index runs, one after the other: a keeper's job each. */
  #checkRuns(index: number): void {
    const place = this.#runs()[index];
    if (place === undefined) {
      this.#checkPacks([...this.#parts.containers.packs()].map(({ packId }) => packId));
      return;
    }
    this.#isAsking = true;
    const job = { kind: 'verify-run', place, isOnMedium: true } as const;
    this.#maintenance.ask<'verify-run'>(job, ({ error }) => {
      this.#isAsking = false;
      // One that was thinned or merged into another meanwhile is gone, and nothing is wrong with that.
      if (error !== undefined && error.code !== 'ENOENT') {
        this.#found({ text: error.message, segId: 0, bad: undefined });
      }
      if (this.#state !== 'running') return;
      this.#after(0, () => {
        this.#checkRuns(index + 1);
      });
    });
  }

  /** What packs say of themselves: their members were looked at as segments. */
  #checkPacks([packId, ...rest]: readonly number[]): void {
    if (packId === undefined) {
      this.#endPass();
      return;
    }
    this.#isAsking = true;
    this.#maintenance.verifyPack(packId, (fault) => {
      this.#isAsking = false;
      if (fault !== undefined) this.#found({ text: fault, segId: 0, bad: undefined });
      if (this.#state !== 'running') return;
      this.#after(0, () => {
        this.#checkPacks(rest);
      });
    });
  }

  #endPass(): void {
    // Everything that is published is applied before the comparison: the keeper works in order.
    this.#maintenance.flushManifest();
    const segments = durableEnds(this.#parts);
    this.#isAsking = true;
    this.#maintenance.ask<'scrub-end'>({ kind: 'scrub-end', by: 'scrub', segments }, (result) => {
      this.#isAsking = false;
      if (this.#passStartedMs === undefined) return;
      for (const fault of result.faults) this.#found(fault);
      this.#lastPass = {
        startedMs: this.#passStartedMs,
        finishedMs: this.#parts.host.clock.wallMs(),
        blocksChecked: this.#blocksChecked,
        findingCount: this.#findingCount,
        isManifestChecked: result.isManifestChecked,
      };
      this.#passStartedMs = undefined;
      this.#older = undefined;
      this.#parts.host.log.info('scrub: pass ended', {
        checked: formatSize(this.#blocksChecked * slotSizeBytes),
        findings: this.#findingCount,
      });
      this.#note();
      if (this.#state === 'running') this.#wait();
    });
  }

  #found(fault: ScrubFault): void {
    const finding = this.#findingOf(fault);
    this.#findingCount += 1;
    if (this.#findings.length >= scrubLimits.findingsMax) return;
    this.#findings.push(finding);
    const { text, volume, offset, length, presentIn } = finding;
    this.#parts.host.log.error('scrub: found damage', { text, volume, offset, length, presentIn });
  }

  /** Which volume the blocks were written to, and whose present state has them. */
  #findingOf({ text, segId, bad }: ScrubFault): ScrubFinding {
    const { host, catalogue, lineById } = this.#parts;
    const foundMs = host.clock.wallMs();
    if (bad === undefined) return { foundMs, text, segId };
    const { address, blockCount, line, lba } = bad;
    const volumes = catalogue.volumes();
    const owner = volumes.find(({ history }) => history.some((span) => span.line === line));
    const presentIn = volumes.filter((volume) => {
      const map = lineById.get(volume.line)?.map;
      if (map === undefined) return false;
      for (let block = 0; block < blockCount; block += 1) {
        if (map.lookup(lba + block) === address + block) return true;
      }
      return false;
    });
    return {
      foundMs,
      text,
      segId,
      volume: owner?.name ?? `(deleted, line ${line})`,
      offset: lba * slotSizeBytes,
      length: blockCount * slotSizeBytes,
      presentIn: presentIn.map(({ name }) => name),
    };
  }

  #note(): void {
    const save = encodeNote({
      isPaused: this.#state === 'paused',
      bytesPerSecond: this.#bytesPerSecond,
      passStartedMs: this.#passStartedMs,
      segId: this.#segId,
      blocksChecked: this.#blocksChecked,
      lastPass: this.#lastPass,
    });
    this.#maintenance.ask<'scrub-note'>({ kind: 'scrub-note', save }, () => undefined);
  }
}
