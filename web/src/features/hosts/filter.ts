// Which hosts a search and a state leave, and in which order. Pure.

import type { Host } from '../../api/types';
import { byName, byText } from '../../order';
import type { Level } from '../../standing';

export type HostFilter = 'all' | 'online' | 'offline' | 'attention' | 'pending';

const FILTERS: readonly string[] = ['all', 'online', 'offline', 'attention', 'pending'];

export function isFilter(word: string): word is HostFilter {
  return FILTERS.includes(word);
}

/** Whether a host belongs to a state of the filter bar. */
export function inState(host: Host, state: HostFilter, level: Level): boolean {
  if (state === 'all') return true;
  return state === 'attention' ? level === 'bad' || level === 'warn' : host.state === state;
}

/** How many hosts belong to each state, in one pass. */
export function countStates(hosts: readonly Host[], level: (host: Host) => Level): Record<HostFilter, number> {
  const counts: Record<HostFilter, number> = { all: hosts.length, online: 0, offline: 0, attention: 0, pending: 0 };
  for (const host of hosts) {
    counts[host.state] += 1;
    if (inState(host, 'attention', level(host))) counts.attention += 1;
  }
  return counts;
}

/** The hosts in which every word of the search is found. */
export function filterHosts(
  hosts: readonly Host[],
  search: string,
  state: HostFilter,
  level: (host: Host) => Level,
): Host[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return hosts.filter((host) => {
    if (state !== 'all' && !inState(host, state, level(host))) return false;
    if (words.length === 0) return true;
    const text = searchText(host);
    return words.every((word) => text.includes(word));
  });
}

function searchText(host: Host): string {
  const groups = host.groups.flatMap((group) => [group.name, group.repository_name]);
  const labels = Object.entries(host.labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return [host.name, host.hostname, host.host_group, host.os, host.arch, ...labels, ...groups].join('\n').toLowerCase();
}

const STANDINGS = ['never', 'stale', 'at_risk', 'paused', 'protected'];
const STATES = { offline: 0, pending: 1, online: 2 } as const;

/** Sorted by a column; hosts without the value come last in both directions. */
export function sortHosts(hosts: readonly Host[], key: string, down: boolean): Host[] {
  const turn = down ? -1 : 1;
  const named = (a: Host, b: Host) => byName(a.name, b.name);
  const byTime = (time: (host: Host) => string | null | undefined) => (a: Host, b: Host) => {
    const [left, right] = [time(a), time(b)];
    if (!left || !right) return Number(!left) - Number(!right) || named(a, b);
    return turn * byText(left, right) || named(a, b);
  };
  // A map, because the key comes from the address: an object would answer to `toString`.
  const orders = new Map<string, (a: Host, b: Host) => number>([
    ['standing', (a, b) => turn * (STANDINGS.indexOf(a.verdict.standing) - STANDINGS.indexOf(b.verdict.standing)) || named(a, b)],
    ['state', (a, b) => turn * (STATES[a.state] - STATES[b.state]) || named(a, b)],
    ['last', byTime((host) => host.last_backup?.finished_at)],
    ['next', byTime((host) => host.next_backup_at)],
  ]);
  return [...hosts].sort(orders.get(key) ?? ((a, b) => turn * named(a, b)));
}
