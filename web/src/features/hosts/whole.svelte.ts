// One host with everything about it: the live feed tells what lists show, the rest is asked for, and again whenever the feed
// says that something about the host has changed.

import { api } from '../../api/client';
import type { Host, WholeHost } from '../../api/types';
import { fleet } from '../../fleet.svelte';
import { live } from '../../live/live.svelte';
import { Remote } from '../../remote.svelte';

/** To be made while a component starts. */
export class KnownHost {
  /** What the feed tells of it; nothing when there is no such host. */
  readonly brief: Host | undefined = $derived.by(() => fleet.byName(this.name()));
  private readonly remote: Remote<WholeHost | undefined>;

  constructor(private readonly name: () => string) {
    this.remote = new Remote(async () => {
      const id = this.brief?.id;
      return id === undefined ? undefined : api.host(id);
    });
    $effect(() => {
      if (this.brief && live.phase === 'live') void this.remote.load();
    });
  }

  /** Everything, once it is here. */
  get whole(): WholeHost | undefined {
    const { brief, remote } = this;
    if (!brief || remote.value?.id !== brief.id) return undefined;
    return { ...remote.value, state: brief.state };
  }
}
