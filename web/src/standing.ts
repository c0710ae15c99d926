// The server's verdicts, counted and put in order. What a verdict is, only the server knows.

import type { Host, Reason, Standing } from './api/types';
import { byName } from './order';

/** From worst to best. A `note` is worth knowing and changes no verdict. */
export type Level = 'bad' | 'warn' | 'note' | 'ok';

const LEVELS: Record<Standing, Level> = {
  never: 'bad',
  stale: 'bad',
  at_risk: 'warn',
  paused: 'note',
  protected: 'ok',
};
const RANK: Record<Level, number> = { bad: 0, warn: 1, note: 2, ok: 3 };

/** One reason why a host is not protected. */
export interface Concern {
  level: Exclude<Level, 'ok'>;
  host: Host;
  reason: Reason;
}

export interface FleetStanding {
  level: Level;
  total: number;
  counts: Record<Standing, number>;
  offline: number;
  /** All reasons, the worst first. */
  concerns: Concern[];
}

/** How bad it is for a host. One that nobody has enrolled yet is being set up, not in danger. */
export function levelOf(host: Host): Level {
  const setUp = host.verdict.reasons.some((it) => it.code === 'not_enrolled');
  return setUp ? 'warn' : (LEVELS[host.verdict.standing] ?? 'bad');
}

/** A host's reasons; each is as grave as the source group it is about. */
export function concernsOf(host: Host): Concern[] {
  return host.verdict.reasons.map((reason) => {
    const group = host.groups.find((it) => it.name === reason.group);
    const level = group ? (LEVELS[group.verdict.standing] ?? 'bad') : levelOf(host);
    return { host, reason, level: level === 'ok' ? 'note' : level };
  });
}

/** The verdict over a whole fleet. */
export function standingOf(hosts: readonly Host[]): FleetStanding {
  const counts: Record<Standing, number> = { protected: 0, paused: 0, at_risk: 0, stale: 0, never: 0 };
  let level: Level = 'ok';
  let offline = 0;
  const concerns: Concern[] = [];
  for (const host of hosts) {
    counts[host.verdict.standing] = (counts[host.verdict.standing] ?? 0) + 1;
    if (host.state === 'offline') offline += 1;
    if (RANK[levelOf(host)] < RANK[level]) level = levelOf(host);
    if (host.verdict.reasons.length > 0) concerns.push(...concernsOf(host));
  }
  concerns.sort((a, b) => RANK[a.level] - RANK[b.level] || byName(a.host.name, b.host.name));
  return { level, total: hosts.length, counts, offline, concerns };
}

/** Concerns of one kind, told as one when they are many. */
export interface Bundle {
  key: string;
  level: Concern['level'];
  concerns: Concern[];
}

/** More than this of one kind are one line that opens. */
export const BUNDLED_FROM = 4;

/** The same concerns with those of one kind together, the worst and then the most first. */
export function bundle(concerns: readonly Concern[]): Bundle[] {
  const bundles = new Map<string, Bundle>();
  for (const concern of concerns) {
    const key = `${concern.level}/${concern.reason.code}`;
    const known = bundles.get(key);
    if (known) known.concerns.push(concern);
    else bundles.set(key, { key, level: concern.level, concerns: [concern] });
  }
  return [...bundles.values()].sort(
    (a, b) => RANK[a.level] - RANK[b.level] || b.concerns.length - a.concerns.length,
  );
}

export const rankOf = (level: Level): number => RANK[level];
