/**
 * Moments as people write them: one grammar for the command line, the API and the engine.
 *
 *     now                               the present
 *     snapshot:NAME                     a snapshot of the volume
 *     2026-11-22T14:03:07.250Z          RFC 3339; without a zone: local time of the appliance; seconds may be left out
 *     -15m   -2h30m   -1d   -500ms      before now: w, d, h, m, s, ms, the large ones first
 *     position:N                        everything before position N of the log
 */

export type MomentSpec =
  | { readonly kind: 'now' }
  | { readonly kind: 'snapshot'; readonly name: string }
  /** Milliseconds since 1970, with fraction. */
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'ago'; readonly agoMs: number }
  | { readonly kind: 'position'; readonly position: number };

/** What a person is told when a text is no moment. */
export const momentRule =
  'snapshot:NAME, now, a time (2026-11-22T14:03:07.250Z; without zone: local time of the appliance), ' +
  'an age (-15m, -2h30m, -1d) or position:N';

/** Longer texts are none. */
const momentTextMax = 160;

const snapshotPattern = /^snapshot:([A-Za-z0-9._-]{1,128})$/;
const positionPattern = /^position:(\d{1,16})$/;
const agePattern =
  /^-(?=\d)(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?$/;
const timePattern =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2})?$/;
const agePartsMs = [604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1] as const;
const minuteMs = 60_000;

/** Undefined when the text is no moment; `momentRule` says what is one. */
export function parseMoment(text: string): MomentSpec | undefined {
  if (text.length > momentTextMax) return undefined;
  if (text === 'now') return { kind: 'now' };
  const name = snapshotPattern.exec(text)?.[1];
  if (name !== undefined) return { kind: 'snapshot', name };
  const digits = positionPattern.exec(text)?.[1];
  if (digits !== undefined) {
    const position = Number(digits);
    return Number.isSafeInteger(position) ? { kind: 'position', position } : undefined;
  }
  const age = agePattern.exec(text);
  if (age !== null) return { kind: 'ago', agoMs: ageMs(age) };
  const time = timePattern.exec(text);
  const timeMs = time === null ? undefined : timeOf(time);
  return timeMs === undefined ? undefined : { kind: 'time', timeMs };
}

/** "2026-11-22T14:03:07.250Z", with more digits where the time has them. */
export function formatMomentTime(timeMs: number): string {
  const whole = Math.floor(timeMs);
  // A double of milliseconds since 1970 is exact to 0.00024 ms.
  const hundredths = Math.floor((timeMs - whole) * 100 + 0.05);
  const text = new Date(whole).toISOString();
  if (hundredths === 0) return text;
  return `${text.slice(0, -1)}${String(hundredths).padStart(2, '0')}Z`;
}

/** Whether the text names the same moment at whatever time and place it is read. */
export function isFixedMoment(text: string): boolean {
  const spec = parseMoment(text);
  if (spec?.kind !== 'time') return spec?.kind === 'snapshot' || spec?.kind === 'position';
  return /(?:[Zz]|[+-]\d{2}:\d{2})$/.test(text);
}

function ageMs(match: RegExpExecArray): number {
  return agePartsMs.reduce((sum, unitMs, index) => sum + Number(match[index + 1] ?? 0) * unitMs, 0);
}

/** Undefined when there is no such day or time. */
function timeOf(match: RegExpExecArray): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map((part: string | undefined) => Number(part ?? 0));
  const isTime = hour <= 23 && minute <= 59 && second <= 60;
  if (!isTime || !isDay(year, month, day)) return undefined;
  const fractionMs = Number(match[7] ?? 0) * 1000;
  const offsetMs = zoneOffsetMs(match[8]);
  if (offsetMs === 'malformed') return undefined;
  const wholeMs =
    offsetMs === undefined
      ? new Date(year, month - 1, day, hour, minute, second).getTime()
      : Date.UTC(year, month - 1, day, hour, minute, second) - offsetMs;
  return wholeMs + fractionMs;
}

function isDay(year: number, month: number, day: number): boolean {
  if (month < 1 || month > 12 || day < 1) return false;
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}

/** How far the zone is ahead of UTC; undefined = none was given. */
function zoneOffsetMs(zone: string | undefined): number | 'malformed' | undefined {
  if (zone === undefined) return undefined;
  if (zone === 'Z' || zone === 'z') return 0;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4, 6));
  if (hours > 23 || minutes > 59) return 'malformed';
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * minuteMs;
}
