// Numbers, times and foreign text as a person reads them. The present is always an argument.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const;
const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** What stands where a value is not known. */
export const UNKNOWN = '–';

/** Bytes in IEC units with three significant digits at most: `1.46 GiB`. */
export function bytes(count: number | null | undefined): string {
  if (count == null || !Number.isFinite(count) || count < 0) return UNKNOWN;
  let value = count;
  let unit = 0;
  // 1023.95 would print as "1024": the next unit is the honest one.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Bytes per second: `12.4 MiB/s`. */
export function rate(bytesPerSecond: number | null | undefined): string {
  const text = bytes(bytesPerSecond);
  return text === UNKNOWN ? text : `${text}/s`;
}

/** A whole number with thousands separators. */
export function whole(count: number | null | undefined): string {
  return count == null || !Number.isFinite(count) ? UNKNOWN : WHOLE.format(count);
}

/** A fraction as whole percent. Rounds down, so 100 % is said only when all is done. */
export function percent(fraction: number): string {
  return `${Math.floor(clamp(fraction) * 100 + 1e-9)} %`;
}

/** A fraction held between 0 and 1; what is not a number is 0. */
export function clamp(fraction: number): number {
  return Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
}

/** A length of time in its two largest units: `2 h 4 min`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null || !Number.isFinite(seconds) || seconds < 0) return UNKNOWN;
  const total = Math.round(seconds);
  if (total < 1) return 'under 1 s';
  const parts: [number, string][] = [
    [Math.floor(total / 86_400), 'd'],
    [Math.floor(total / 3600) % 24, 'h'],
    [Math.floor(total / 60) % 60, 'min'],
    [total % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}

/** Seconds from one time to another; `undefined` when one of them is not a time. */
export function secondsBetween(from: string | null | undefined, until: number): number | undefined {
  const start = parse(from);
  return start === undefined ? undefined : (until - start) / 1000;
}

/** A time's milliseconds; `undefined` when the text is none. */
export function parse(time: string | null | undefined): number | undefined {
  if (!time) return undefined;
  const at = Date.parse(time);
  return Number.isNaN(at) ? undefined : at;
}

/** How far a time is from now in its largest unit: `4 min ago`, `in 2 h`. */
export function relative(time: string | null | undefined, now: number): string {
  const at = parse(time);
  if (at === undefined) return UNKNOWN;
  const seconds = Math.round((at - now) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 5) return 'just now';
  const text = largest(distance);
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}

function largest(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  const days = Math.floor(seconds / 86_400);
  if (days < 60) return days === 1 ? '1 day' : `${days} days`;
  const months = Math.floor(days / 30.44);
  return months < 24 ? `${months} months` : `${Math.floor(days / 365.25)} years`;
}

/** The full time with its zone, in the viewer's zone unless another is named. */
export function absolute(time: string | null | undefined, timeZone?: string): string {
  const at = parse(time);
  if (at === undefined) return UNKNOWN;
  return formatter('full', timeZone).format(at);
}

/** The time of day only: `13:25:07`. */
export function clockTime(time: string, timeZone?: string): string {
  const at = parse(time);
  if (at === undefined) return '--:--:--';
  return formatter('clock', timeZone).format(at);
}

const CLOCK = { hour: '2-digit', minute: '2-digit', second: '2-digit' } as const;
const SHAPES = {
  clock: CLOCK,
  full: { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', ...CLOCK, timeZoneName: 'short' },
} as const;

// Making a formatter takes longer than drawing the row it is for.
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatter(shape: keyof typeof SHAPES, timeZone = ''): Intl.DateTimeFormat {
  const key = `${shape} ${timeZone}`;
  const known = formatters.get(key) ?? makeFormatter(shape, timeZone);
  formatters.set(key, known);
  return known;
}

/** In the viewer's zone when this browser does not know the one named. */
function makeFormatter(shape: keyof typeof SHAPES, timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-GB', { ...SHAPES[shape], timeZone: timeZone || undefined });
  } catch {
    return new Intl.DateTimeFormat('en-GB', SHAPES[shape]);
  }
}

/**
 * Seconds left worth showing. restic is still scanning at the beginning, so what it guesses in the
 * first five percent is noise and is not shown.
 */
export function eta(progress: { percent_done: number; eta_seconds?: number | null }): number | undefined {
  if (progress.percent_done < 0.05 || progress.percent_done >= 1) return undefined;
  return progress.eta_seconds && progress.eta_seconds > 0 ? progress.eta_seconds : undefined;
}

// Escape sequences: CSI, OSC (ended by BEL or ST), and the two-character ones.
// eslint-disable-next-line no-control-regex
const ANSI = /\u001b\[[0-?]*[ -/]*[@-~]|\u009b[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[ -/]*[0-~]/g;
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
// Characters that reorder or hide what follows; a file name could pose as another with them.
const DECEIVING = /[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;

/** Foreign text without colours, cursor moves and characters that make it read as something else. */
export function plain(text: string | null | undefined): string {
  if (!text) return '';
  return text.replace(ANSI, '').replace(CONTROL, '').replace(DECEIVING, '\ufffd');
}

/** A number with its noun: `1 host`, `3 hosts`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}
