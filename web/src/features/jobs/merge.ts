import type { Job } from '../../api/types';
import { newestFirst } from '../../live/reducer';

/** Fetched jobs with what the live feed knows better, newest first. */
export function mergeJobs(
  fetched: readonly Job[],
  live: ReadonlyMap<string, Job>,
  wanted: (job: Job) => boolean,
): Job[] {
  const jobs = new Map(fetched.map((job) => [job.id, job]));
  for (const job of live.values()) {
    if (wanted(job) || jobs.has(job.id)) jobs.set(job.id, job);
  }
  return [...jobs.values()].filter(wanted).sort(newestFirst);
}
