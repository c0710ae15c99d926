// What is different from the run before. Pure.

import type { Job, Stats } from '../../api/types';

/** The newest good run of the same group before this one. */
export function runBefore(job: Job, jobs: readonly Job[]): Job | undefined {
  return jobs.find(
    (it) =>
      it.id !== job.id &&
      it.operation === job.operation &&
      it.host_id === job.host_id &&
      it.group === job.group &&
      it.created_at < job.created_at &&
      it.stats != null &&
      (it.status === 'succeeded' || it.status === 'partial'),
  );
}

export type Measure = 'took' | keyof Stats;

export interface Compared {
  measure: Measure;
  now: number;
  before: number;
}

const MEASURES: (keyof Stats)[] = ['data_added', 'total_bytes_processed', 'files_new', 'files_changed', 'total_files_processed'];

/** The measures that both runs have. */
export function compare(job: Job, before: Job): Compared[] {
  const both: Compared[] = [];
  const took = [seconds(job), seconds(before)];
  if (took[0] !== undefined && took[1] !== undefined) both.push({ measure: 'took', now: took[0], before: took[1] });
  for (const measure of MEASURES) {
    const [now, then] = [job.stats?.[measure], before.stats?.[measure]];
    if (now != null && then != null) both.push({ measure, now, before: then });
  }
  return both;
}

function seconds(job: Job): number | undefined {
  const took = (Date.parse(job.finished_at ?? '') - Date.parse(job.started_at ?? '')) / 1000;
  return Number.isNaN(took) ? undefined : took;
}
