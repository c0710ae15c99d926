// What the live feed knows, as the screens ask for it. Derived once, read by all.

import { untrack } from 'svelte';

import { isEnded, type Host, type Job } from './api/types';
import { clock } from './clock.svelte';
import { newestFirst } from './live/reducer';
import { live } from './live/live.svelte';
import { byName } from './order';
import { judge } from './protection';

// Judging ten thousand hosts every second would be waste; a verdict moves by minutes.
const STEP_MS = 15_000;

class Fleet {
  readonly hosts: Host[] = $derived([...live.hosts.values()].sort((a, b) => byName(a.name, b.name)));
  /** Jobs not ended: running ones first, then those that wait. */
  readonly active: Job[] = $derived(
    [...live.jobs.values()].filter((job) => !isEnded(job.status)).sort(runningFirst),
  );
  private readonly minute = $derived(Math.ceil(clock.now / STEP_MS) * STEP_MS);
  private readonly known: Job[] = $derived([...live.jobs.values()]);
  /** Moves only when a job changes its state, not with every step of its bar. */
  private readonly shape: string = $derived(this.known.map((job) => `${job.id}${job.status}`).join());
  private readonly settled: Job[] = $derived.by(() => {
    void this.shape;
    return untrack(() => [...live.jobs.values()]);
  });
  readonly verdict = $derived(judge(this.hosts, this.settled, this.minute));
  readonly verdicts = $derived(new Map(this.verdict.hosts.map((it) => [it.host.id, it])));

  byName(name: string): Host | undefined {
    return this.hosts.find((host) => host.name === name || host.id === name);
  }

  activeOf(host: Host): Job[] {
    return this.active.filter((job) => job.host_id === host.id);
  }
}

const ORDER = { running: 0, paused: 1, queued: 2 } as Record<string, number>;

function runningFirst(a: Job, b: Job): number {
  return (ORDER[a.status] ?? 9) - (ORDER[b.status] ?? 9) || newestFirst(b, a);
}

export const fleet = new Fleet();
