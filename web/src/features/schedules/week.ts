// The runs of the next days by hour, in the viewer's zone. Pure.

import type { Planned } from '../../api/types';

export interface Run {
  host: string;
  group: string;
  at: number;
}

export interface Hour {
  at: number;
  runs: Run[];
}

export interface Day {
  at: number;
  hours: Hour[];
}

/** So many days from the one of `now`, each with its hours; a day of a clock change has 23 or 25. */
export function week(schedules: readonly Planned[], now: number, days: number): Day[] {
  const first = new Date(now);
  first.setHours(0, 0, 0, 0);
  const table = Array.from({ length: days }, (_, index) => emptyDay(first, index));
  const hours = new Map(table.flatMap((day) => day.hours.map((hour) => [hour.at, hour] as const)));
  for (const { host_name: host, group, runs } of schedules) {
    for (const text of runs) {
      const at = Date.parse(text);
      hours.get(hourOf(at))?.runs.push({ host, group, at });
    }
  }
  for (const hour of hours.values()) hour.runs.sort((a, b) => a.at - b.at);
  return table;
}

function emptyDay(first: Date, index: number): Day {
  const start = new Date(first);
  start.setDate(first.getDate() + index);
  const end = new Date(start);
  end.setDate(start.getDate() + 1);
  const hours: Hour[] = [];
  for (let at = start.getTime(); at < end.getTime(); at += 3_600_000) hours.push({ at, runs: [] });
  return { at: start.getTime(), hours };
}

function hourOf(at: number): number {
  const hour = new Date(at);
  hour.setMinutes(0, 0, 0);
  return hour.getTime();
}

/** The hour in which most begins; `undefined` when nothing does. */
export function busiest(days: readonly Day[]): Hour | undefined {
  const hours = days.flatMap((day) => day.hours).filter((hour) => hour.runs.length > 0);
  return hours.reduce<Hour | undefined>((a, b) => (!a || b.runs.length > a.runs.length ? b : a), undefined);
}
