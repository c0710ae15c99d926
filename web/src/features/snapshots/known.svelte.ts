// The snapshots of one host, asked for again when a job there has made or removed some.

import { api } from '../../api/client';
import type { Snapshot } from '../../api/types';
import { live } from '../../live/live.svelte';
import { Remote } from '../../remote.svelte';

// The agent lists the repository a little after its job has ended.
const AGAIN_MS = 3000;
const CHANGES: ReadonlySet<string> = new Set(['backup', 'forget', 'tag']);

/** To be made while a component starts. */
export function snapshotsOf(hostId: () => string | undefined): Remote<Snapshot[]> {
  const remote = new Remote(async () => {
    const id = hostId();
    return id === undefined ? [] : (await api.snapshots(id)).snapshots;
  });
  /** Moves whenever such a job ends here. */
  const newest = $derived(
    [...live.jobs.values()].filter((job) => job.host_id === hostId() && job.finished_at && CHANGES.has(job.operation)).map((job) => job.id).sort().at(-1),
  );
  $effect(() => {
    void newest;
    if (live.phase !== 'live' || hostId() === undefined) return;
    void remote.load();
    const timer = setTimeout(() => void remote.load(), AGAIN_MS);
    return () => clearTimeout(timer);
  });
  return remote;
}
