/**
 * Mode pages, SPC-4 7.5 and SBC-3 6.5, as tables of bytes: default values and the bits that MODE SELECT may change.
 *
 *     01h      read-write error recovery      LBPERE: thin provisioning thresholds are reported
 *     08h      caching                        WCE as the volume really behaves; not changeable
 *     0Ah      control                        D_SENSE, SWP and TAS are changeable and can be saved
 *     0Ah/01h  control extension              IALUAE: implicit asymmetric access
 *     1Ch      informational exceptions
 *
 * Only the control page has anything to save, so what is saved is that page.
 */
import { u8, u16be, viewOf } from '../base/fields.ts';

/** PAGE CONTROL of MODE SENSE. */
export const PageControl = { current: 0, changeable: 1, defaults: 2, saved: 3 } as const;
export type PageControl = (typeof PageControl)[keyof typeof PageControl];

const controlPage = 0x0a;
const cachingPage = 0x08;
const allPages = 0x3f;
const allSubpages = 0xff;

const pageHeader = { code: u8(0), length: u8(1) } as const;
const pageHeaderBytes = 2;
const subpageHeader = { code: u8(0), subpage: u8(1), length: u16be(2) } as const;
const subpageHeaderBytes = 4;
/** In the page code byte: the page can be saved; the long header follows. */
const savableBit = 0x80;
const subpageBit = 0x40;

/** Caching, SBC-3 table 216. */
const caching = { flags: u8(2) } as const;
const writeCacheEnabled = 0x04;

/** Control, SPC-4 table 402. */
const control = { senseFlags: u8(2), protectFlags: u8(4), abortFlags: u8(5) } as const;
const descriptorSense = 0x04;
const softwareWriteProtect = 0x08;
const taskAbortedStatus = 0x40;
/** GLTSD: log parameters are not saved. */
const globalLoggingDisabled = 0x02;
/** QUEUE ALGORITHM MODIFIER 1: simple tasks run in any order. */
const unrestrictedReordering = 0x10;
const busyTimeoutUnlimited = 0xff;

interface ModePage {
  readonly code: number;
  readonly subpage: number;
  /** The whole page as it is from the factory, header included. */
  readonly defaults: readonly number[];
  /** Its bits that MODE SELECT may change. */
  readonly changeable: readonly number[];
}

function plain(
  code: number,
  body: readonly number[],
  changeable: readonly number[] = [],
): ModePage {
  return {
    code,
    subpage: 0,
    defaults: [code, body.length, ...body],
    changeable: [0, 0, ...changeable],
  };
}

const pages: readonly ModePage[] = [
  // AWRE, ARRE; LBPERE in byte 7.
  plain(0x01, [0xc0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]),
  plain(cachingPage, new Array<number>(18).fill(0)),
  plain(
    controlPage,
    [
      globalLoggingDisabled,
      unrestrictedReordering,
      0,
      taskAbortedStatus,
      0,
      0,
      busyTimeoutUnlimited,
      busyTimeoutUnlimited,
      0,
      0,
    ],
    [descriptorSense, 0, softwareWriteProtect, taskAbortedStatus, 0, 0, 0, 0, 0, 0],
  ),
  {
    code: controlPage,
    subpage: 0x01,
    // IALUAE.
    defaults: [controlPage | subpageBit, 0x01, 0, 0x1c, 0x01, ...new Array<number>(27).fill(0)],
    changeable: [],
  },
  plain(0x1c, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
];

export type ModeProblem = 'length' | 'field';

export class ModePages {
  #current: Uint8Array;
  #saved: Uint8Array;

  /** Takes what was saved; bytes that do not fit the control page of this version are ignored. */
  constructor(saved: Uint8Array | undefined) {
    this.#saved = controlFrom(saved);
    this.#current = this.#saved;
  }

  /** D_SENSE. */
  get isDescriptorSense(): boolean {
    return (control.senseFlags.get(viewOf(this.#current), 0) & descriptorSense) !== 0;
  }

  /** SWP. */
  get isWriteProtected(): boolean {
    return (control.protectFlags.get(viewOf(this.#current), 0) & softwareWriteProtect) !== 0;
  }

  /** TAS: commands that another nexus aborts end with TASK ABORTED. */
  get sendsTaskAborted(): boolean {
    return (control.abortFlags.get(viewOf(this.#current), 0) & taskAbortedStatus) !== 0;
  }

  /** Back to what was saved, as a reset does. */
  revert(): void {
    this.#current = this.#saved;
  }

  /**
   * The pages that MODE SENSE asks for, one behind the other; undefined when there is no such page. Page 3Fh is all
   * pages, subpage FFh all subpages of a page.
   */
  sense(
    code: number,
    subpage: number,
    { control: pageControl, isWriteBack }: { control: PageControl; isWriteBack: boolean },
  ): Uint8Array | undefined {
    const bytes: number[] = [];
    for (const page of pages) {
      const isCode = code === allPages || page.code === code;
      const isSubpage = subpage === allSubpages || page.subpage === subpage;
      if (isCode && isSubpage) bytes.push(...this.#values(page, pageControl, isWriteBack));
    }
    // All pages exist also where none has that subpage; but then it is not the subpage that was asked for.
    return bytes.length === 0 ? undefined : Uint8Array.from(bytes);
  }

  /**
   * Checks the pages of a MODE SELECT parameter list, `list[at]` to the end, against what may change; returns the control
   * page that would be in force, the present one when the list has none.
   */
  select(
    list: Uint8Array,
    start: number,
    isWriteBack: boolean,
  ): { readonly next: Uint8Array } | { readonly problem: ModeProblem; readonly at: number } {
    let next = this.#current;
    let at = start;
    while (at < list.length) {
      const length = pageBytes(list, at);
      if (length === undefined || at + length > list.length) return { problem: 'length', at };
      const given = list.subarray(at, at + length);
      const page = pageOf(given);
      if (page?.defaults.length !== length) return { problem: 'field', at };
      const current = this.#values(page, PageControl.current, isWriteBack);
      const wrong = wrongByte(page, given, current);
      if (wrong >= 0) return { problem: 'field', at: at + wrong };
      if (page.code === controlPage && page.subpage === 0) next = controlFrom(given);
      at += length;
    }
    return { next };
  }

  /** Puts a control page in force that `select` returned; true when anything changed. */
  apply(next: Uint8Array): boolean {
    const isChanged = next.some((byte, index) => byte !== this.#current[index]);
    this.#current = next;
    return isChanged;
  }

  /** `next` is durable: resets and restarts come back to it. */
  saved(next: Uint8Array): void {
    this.#saved = next;
  }

  #values(page: ModePage, pageControl: PageControl, isWriteBack: boolean): number[] {
    const isControl = page.code === controlPage && page.subpage === 0;
    const values = [...page.defaults];
    if (pageControl === PageControl.changeable) {
      const headerLength = page.subpage === 0 ? pageHeaderBytes : subpageHeaderBytes;
      for (let at = headerLength; at < values.length; at += 1)
        values[at] = page.changeable[at] ?? 0;
    } else if (page.code === cachingPage && isWriteBack) {
      values[caching.flags.offset] = writeCacheEnabled;
    } else if (isControl && pageControl === PageControl.current) {
      values.splice(0, values.length, ...this.#current);
    } else if (isControl && pageControl === PageControl.saved) {
      values.splice(0, values.length, ...this.#saved);
    }
    if (isControl) values[0] = (values[0] ?? 0) | savableBit;
    return values;
  }
}

/** Bytes of the page at `at`, header included; undefined when not even its header is there. */
function pageBytes(list: Uint8Array, at: number): number | undefined {
  const view = viewOf(list);
  const isLong = (pageHeader.code.get(view, at) & subpageBit) !== 0;
  if (at + (isLong ? subpageHeaderBytes : pageHeaderBytes) > list.length) return undefined;
  return isLong
    ? subpageHeaderBytes + subpageHeader.length.get(view, at)
    : pageHeaderBytes + pageHeader.length.get(view, at);
}

function pageOf(given: Uint8Array): ModePage | undefined {
  const view = viewOf(given);
  const first = pageHeader.code.get(view, 0);
  const subpage = (first & subpageBit) === 0 ? 0 : subpageHeader.subpage.get(view, 0);
  const code = first & ~(savableBit | subpageBit);
  return pages.find((page) => page.code === code && page.subpage === subpage);
}

/** First byte of the page that differs from the current one in a bit that may not change; -1 when there is none. */
function wrongByte(page: ModePage, given: Uint8Array, current: readonly number[]): number {
  for (let at = 1; at < given.length; at += 1) {
    const differs = (given[at] ?? 0) ^ (current[at] ?? 0);
    if ((differs & ~(page.changeable[at] ?? 0)) !== 0) return at;
  }
  return -1;
}

/** A control page with the changeable bits of `source` and the factory's rest. */
function controlFrom(source: Uint8Array | undefined): Uint8Array {
  const page = pages.find(({ code, subpage }) => code === controlPage && subpage === 0);
  const result = Uint8Array.from(page?.defaults ?? []);
  if (page === undefined || source?.length !== result.length) return result;
  for (const [at, mask] of page.changeable.entries()) {
    result[at] = ((result[at] ?? 0) & ~mask) | ((source[at] ?? 0) & mask);
  }
  return result;
}
