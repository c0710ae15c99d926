// How exactly a schedule's slots are kept: the fields of the form, and what the API takes. Pure.

import type { Schedule } from '../../api/types';

export interface TimingFields {
  from: string;
  until: string;
  /** Minutes. */
  jitter: string | number | null;
  catchUp: boolean;
}

/** What the form shows of a stored schedule. */
export function timingFields(schedule: Schedule | undefined): TimingFields {
  const jitter = schedule?.jitter_seconds ? Math.round(schedule.jitter_seconds / 60) : '';
  return { from: schedule?.window?.from ?? '', until: schedule?.window?.until ?? '', jitter, catchUp: schedule?.catch_up ?? true };
}

/** A window needs both of its ends. */
export function timingOf(fields: TimingFields): { jitter_seconds: number; catch_up: boolean; window?: { from: string; until: string } } {
  const timing = { jitter_seconds: Math.round(Number(fields.jitter ?? '') * 60) || 0, catch_up: fields.catchUp };
  return fields.from && fields.until ? { ...timing, window: { from: fields.from, until: fields.until } } : timing;
}
