// How the last 30 days of each host went. Asked for once, and again some time after a job has ended.

import { untrack } from 'svelte';

import { api } from './api/client';
import { isEnded } from './api/types';
import { live } from './live/live.svelte';
import { Remote } from './remote.svelte';

const PAUSE_MS = 20_000;

class Days {
  private readonly remote = new Remote(() => api.days());
  private asked = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  of(hostId: string): string | undefined {
    return this.remote.value?.hosts[hostId];
  }

  get known(): boolean {
    return this.remote.value !== undefined;
  }

  /** To be called where days are shown; keeps them young as long as they are. */
  watch(): void {
    $effect(() => {
      if (live.phase !== 'live') return;
      // Moves when a job ends, not with every step of a bar.
      void [...live.jobs.values()].filter((job) => isEnded(job.status)).length;
      untrack(() => this.ask());
    });
  }

  private ask(): void {
    if (this.timer) return;
    const wait = Math.max(0, this.asked + PAUSE_MS - Date.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.asked = Date.now();
      void this.remote.load();
    }, wait);
  }
}

export const days = new Days();
