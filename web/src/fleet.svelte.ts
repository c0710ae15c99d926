// What the live feed knows, as the screens ask for it. Derived once, read by all.

import { isEnded, type Alert, type Host, type Job } from './api/types';
import { newestFirst } from './live/reducer';
import { live } from './live/live.svelte';
import { byName, byText } from './order';
import { standingOf } from './standing';

class Fleet {
  private inOrder: Host[] = [];
  readonly hosts: Host[] = $derived.by(() => (this.inOrder = reorder(this.inOrder, live.hosts)));
  /** Jobs not ended: running ones first, then those that wait. */
  readonly active: Job[] = $derived(
    [...live.jobs.values()].filter((job) => !isEnded(job.status)).sort(runningFirst),
  );
  readonly standing = $derived(standingOf(this.hosts));
  /** Alerts not resolved: the gravest first, of one weight the newest. */
  readonly alerts: Alert[] = $derived([...live.alerts.values()].sort(gravestFirst));
  private readonly activeByHost = $derived(groupByHost(this.active));
  private readonly byNames = $derived(new Map(this.hosts.map((host) => [host.name, host])));

  byName(name: string): Host | undefined {
    return this.byNames.get(name) ?? live.hosts.get(name);
  }

  activeOf(host: Host): Job[] {
    return this.activeByHost.get(host.id) ?? [];
  }
}

/** By name. Sorted anew only when a host came or has another name: most news is of neither kind. */
function reorder(before: readonly Host[], known: ReadonlyMap<string, Host>): Host[] {
  const hosts: Host[] = [];
  let sorted = true;
  for (const { id, name } of before) {
    const host = known.get(id);
    if (!host) continue;
    sorted &&= host.name === name;
    hosts.push(host);
  }
  if (hosts.length < known.size) {
    const there = new Set(before.map((host) => host.id));
    for (const host of known.values()) if (!there.has(host.id)) hosts.push(host);
    sorted = false;
  }
  return sorted ? hosts : hosts.sort((a, b) => byName(a.name, b.name));
}

function groupByHost(jobs: readonly Job[]): Map<string, Job[]> {
  const byHost = new Map<string, Job[]>();
  for (const job of jobs) {
    const known = byHost.get(job.host_id);
    if (known) known.push(job);
    else byHost.set(job.host_id, [job]);
  }
  return byHost;
}

const ORDER = { running: 0, paused: 1, queued: 2 } as Record<string, number>;

function runningFirst(a: Job, b: Job): number {
  return (ORDER[a.status] ?? 9) - (ORDER[b.status] ?? 9) || newestFirst(b, a);
}

const GRAVE = { critical: 0, warning: 1, info: 2 } as Record<string, number>;

function gravestFirst(a: Alert, b: Alert): number {
  return (GRAVE[a.severity] ?? 0) - (GRAVE[b.severity] ?? 0) || byText(b.first_seen_at, a.first_seen_at);
}

export const fleet = new Fleet();
