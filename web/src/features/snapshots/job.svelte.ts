// One job followed from its order to its end: by the live feed, and asked for where that says nothing.

import { api } from '../../api/client';
import { isEnded, type Job } from '../../api/types';
import { live } from '../../live/live.svelte';
import { Remote } from '../../remote.svelte';

/** To be made while a component starts. */
export class Followed {
  private readonly remote: Remote<Job | undefined>;

  constructor(private readonly id: () => string | undefined) {
    this.remote = new Remote(async () => {
      const id = this.id();
      return id ? api.job(id) : undefined;
    });
    $effect(() => {
      if (this.id() && live.phase === 'live' && !live.jobs.has(this.id() ?? '')) void this.remote.load();
    });
  }

  get job(): Job | undefined {
    const id = this.id();
    if (!id) return undefined;
    const fetched = this.remote.value?.id === id ? this.remote.value : undefined;
    return live.jobs.get(id) ?? fetched;
  }

  get ended(): boolean {
    return this.job !== undefined && isEnded(this.job.status);
  }
}
